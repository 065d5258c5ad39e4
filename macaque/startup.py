"""The start of a server. It is over when the broker has confirmed every service, or has refused one."""

from __future__ import annotations

import threading

from macaque.errors import ConnectionLost
from macaque.registry import Service

__all__ = ["Startup"]


class Startup:
    """The services that the broker has not confirmed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._awaited: set[Service] = set()
        self._error: Exception | None = None

    def begin(self) -> None:
        """Forget an earlier start."""
        with self._changed:
            self._awaited.clear()
            self._error = None

    def expect(self, service: Service) -> None:
        """Wait for a service."""
        with self._changed:
            self._awaited.add(service)

    def confirm(self, service: Service) -> bool:
        """Stop waiting for a service, because the broker has confirmed it. Return whether it was the last one."""
        with self._changed:
            self._awaited.discard(service)
            self._changed.notify_all()
            return not self._awaited

    def fail(self, error: Exception) -> None:
        """End the start with an error."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def wait(self, seconds: float, timeout: float) -> None:
        """Wait at most `seconds` for every service.

        Args:
            timeout: the seconds that the error names.

        Raises:
            Exception: the error that was given to `fail`.
            ConnectionLost: the broker did not confirm a service in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._awaited or self._error, seconds)
            if self._error is not None:
                raise self._error
            if self._awaited:
                names = ", ".join(service.name for service in self._awaited)
                raise ConnectionLost(f"The broker did not confirm {names} within {timeout:g} s.", reason="no answer")
