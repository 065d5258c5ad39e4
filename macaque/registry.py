"""The services of a server: which function answers on which topic, and how many at a time.

Pure: it records and checks, and runs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from macaque.letter import dead_topic
from mqlight.wire.functions import unrun
from mqlight.wire.topics import TopicError, validate_pattern, validate_topic

__all__ = ["MAX_CREDIT", "Registry", "Service"]

Function = Callable[[Any], Any]

SHARE_TTL = 24 * 3600
"""Seconds that the requests to a shared service are kept while none of its members is there."""
MAX_DELIVERIES = 5
"""Attempts at a request, when nobody says otherwise."""
LONGEST_TTL = 30 * 24 * 3600
"""Seconds: MQ Light's limit."""
LONGEST_WINDOW = 24 * 3600
LONGEST_TIMEOUT = 30 * 24 * 3600
MAX_ATTEMPTS = 1000
MAX_CREDIT = 1000
"""Functions of one service that may run at the same time: each one that takes its time takes a thread."""


@dataclass(frozen=True)
class Service:
    """A function and where it answers. The same `endpoint` and `share_id` in several processes share the requests."""

    endpoint: str
    share_id: str | None
    credit: int
    function: Function
    max_deliveries: int = MAX_DELIVERIES
    """Attempts at a request, then it goes to the dead letters."""
    ttl: int = 0
    """Seconds that the subscription outlives its members."""
    idempotent_for: float | None = None
    """Seconds that answers are remembered, for calls that are repeated."""
    timeout: float | None = None
    """Seconds that the function has for a request."""

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

    def add(
        self,
        endpoint: str,
        share_id: str | None,
        credit: int,
        function: Function,
        *,
        max_deliveries: int = MAX_DELIVERIES,
        ttl: int | None = None,
        idempotent_for: float | None = None,
        timeout: float | None = None,
    ) -> Service:
        """Record a service and return it. `ttl` None is SHARE_TTL for a shared one, else 0.

        Raises:
            TypeError: an argument is of a wrong type, or `function` does not take one argument.
            ValueError: an argument has a value that cannot work, or the place is taken.
        """
        _check_endpoint(endpoint)
        _check_share_id(share_id)
        _check_whole("credit", credit, 1, MAX_CREDIT, "how many requests may be in work at a time")
        _check_function(function, endpoint)
        _check_whole("max_deliveries", max_deliveries, 1, MAX_ATTEMPTS, "how often a request is tried")
        if ttl is None:
            ttl = 0 if share_id is None else SHARE_TTL
        _check_whole("ttl", ttl, 0, LONGEST_TTL, "how many seconds requests are kept")
        _check_seconds("idempotent_for", idempotent_for, LONGEST_WINDOW)
        _check_seconds("timeout", timeout, LONGEST_TIMEOUT)
        service = Service(endpoint, share_id, credit, function, max_deliveries, ttl, idempotent_for, timeout)
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
        validate_topic(dead_topic(endpoint))
    except TopicError as error:
        raise ValueError(f"The endpoint {endpoint[:80]!r} cannot be a topic. {error}") from error


def _check_share_id(share_id: object) -> None:
    if share_id is None:
        return
    if not isinstance(share_id, str):
        raise TypeError(f"The share_id {share_id!r} is neither a str nor None.")
    if not share_id or ":" in share_id or not share_id.isprintable():
        raise ValueError(f"The share_id {share_id!r} needs at least one character, and no ':' or control character.")


def _check_whole(name: str, number: object, least: int, most: int, meaning: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"The {name} {number!r} is not an int; give {meaning}.")
    if not least <= number <= most:
        raise ValueError(f"The {name} {number} is not between {least} and {most}.")


def _check_seconds(name: str, seconds: object, most: int) -> None:
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name}={seconds!r} is not a number of seconds.")
    if not 0 < seconds <= most:
        raise ValueError(f"{name}={seconds!r} is not between 0 and {most} seconds.")


def _check_function(function: object, endpoint: str) -> None:
    if not callable(function):
        raise TypeError(f"The service {endpoint!r} is {function!r}, which is not a function.")
    kind = unrun(function)
    if kind == "async":
        raise TypeError(f"{_name(function)} is async, and this server runs plain functions: write def, not async def.")
    if kind is not None:
        raise TypeError(
            f"{_name(function)} is a generator, and a service has one reply: return a list instead of using yield."
        )
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
