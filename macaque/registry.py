"""The services of a server: which function answers on which topic, and how many at a time.

Pure: it records and checks, and runs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mqlight.wire.topics import TopicError, validate_pattern

__all__ = ["MAX_CREDIT", "Registry", "Service"]

Function = Callable[[Any], Any]

MAX_CREDIT = 1000
"""Functions of one service that may run at the same time: each one that takes its time takes a thread."""


@dataclass(frozen=True)
class Service:
    """A function and where it answers. The same `endpoint` and `share_id` in several processes share the requests."""

    endpoint: str
    share_id: str | None
    credit: int
    function: Function

    @property
    def name(self) -> str:
        return self.endpoint if self.share_id is None else f"{self.endpoint} (share {self.share_id})"


class Registry:
    """Services in the order in which they were added, at most one for each endpoint and share."""

    def __init__(self) -> None:
        self._services: dict[tuple[str, str | None], Service] = {}

    def __iter__(self) -> Iterator[Service]:
        return iter(tuple(self._services.values()))

    def __len__(self) -> int:
        return len(self._services)

    def add(self, endpoint: str, share_id: str | None, credit: int, function: Function) -> Service:
        """Record a service and return it.

        Raises:
            TypeError: an argument is of a wrong type, or `function` does not take one argument.
            ValueError: an argument has a value that cannot work, or the place is taken.
        """
        _check_endpoint(endpoint)
        _check_share_id(share_id)
        _check_credit(credit)
        _check_function(function, endpoint)
        service = Service(endpoint, share_id, credit, function)
        taken = self._services.setdefault((endpoint, share_id), service)
        if taken is not service:
            raise ValueError(
                f"The service {service.name!r} is {_name(taken.function)} already: "
                f"give {_name(function)} another endpoint or share_id."
            )
        return service


def _check_endpoint(endpoint: object) -> None:
    if callable(endpoint):
        raise TypeError("@app.service needs an endpoint: write @app.service('my/topic').")
    if not isinstance(endpoint, str):
        raise TypeError(f"The endpoint {endpoint!r} is not a str; give a topic such as 'my/topic'.")
    try:
        validate_pattern(endpoint)
    except TopicError as error:
        raise ValueError(f"The endpoint {endpoint[:80]!r} cannot be a topic. {error}") from error


def _check_share_id(share_id: object) -> None:
    if share_id is None:
        return
    if not isinstance(share_id, str):
        raise TypeError(f"The share_id {share_id!r} is neither a str nor None.")
    if not share_id or ":" in share_id or not share_id.isprintable():
        raise ValueError(f"The share_id {share_id!r} needs at least one character, and no ':' or control character.")


def _check_credit(credit: object) -> None:
    if isinstance(credit, bool) or not isinstance(credit, int):
        raise TypeError(f"The credit {credit!r} is not an int; give how many requests may be in work at a time.")
    if not 1 <= credit <= MAX_CREDIT:
        raise ValueError(f"The credit {credit} is not between 1 and {MAX_CREDIT}.")


def _check_function(function: object, endpoint: str) -> None:
    if not callable(function):
        raise TypeError(f"The service {endpoint!r} is {function!r}, which is not a function.")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{_name(function)} is async, and this server runs plain functions: write def, not async def.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some functions written in C do not tell
    try:
        signature.bind(None)
    except TypeError:
        name = _name(function)
        raise TypeError(
            f"{name}{signature} does not take one argument, the data of the request: write def {name}(data)."
        ) from None


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
