"""Services that wait for each other in a circle: each place that waits is one place less for the answer.

The function of a service that calls its own service and waits takes one place of the service's credit, and its call
needs another one. When all places wait like that, none is left to answer, and all wait until their calls time out. The
same goes for a circle of services. What a service waits for is known where the wait begins, by `told_of_waits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from macaque.registry import Service
from mqlight.wire.topics import matches

__all__ = ["Cycles", "told_of_waits"]

told_of_waits: dict[int, Callable[[str], None]] = {}
"""Threads that run a service's function: to be called with the topic that the function is about to wait for."""

KNOWN = 4096
"""Topics that are remembered, so that a service that waits for ever new ones costs no memory."""


class Cycles:
    """What the services of one server wait for. `services` returns them."""

    def __init__(self, services: Callable[[], Iterable[Service]]) -> None:
        self._services = services
        self._known: set[tuple[Service, str]] = set()
        self._waits: dict[Service, set[Service]] = {}
        self._told: set[frozenset[Service]] = set()

    def add(self, service: Service, topic: str) -> list[Service] | None:
        """Note that `service` waits for `topic`. Return a circle from it to it, the first time that one is closed."""
        if (service, topic) in self._known or len(self._known) >= KNOWN:
            return None
        self._known.add((service, topic))
        targets = [each for each in self._services() if matches(each.endpoint, topic)]
        self._waits.setdefault(service, set()).update(targets)
        for target in targets:
            path = self._path(target, service, {target})
            if path is not None and frozenset(path) not in self._told:
                self._told.add(frozenset(path))
                return [service, *path]
        return None

    def _path(self, start: Service, end: Service, seen: set[Service]) -> list[Service] | None:
        """Return the services from `start` to `end`, each of which waits for the next one."""
        if start == end:
            return [end]
        for each in list(self._waits.get(start, ())):
            if each not in seen:
                seen.add(each)
                rest = self._path(each, end, seen)
                if rest is not None:
                    return [start, *rest]
        return None
