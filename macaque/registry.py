"""The services of a server: the function for each topic, and the number of requests that run at a time.

Pure: this code records and checks services, and runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from macaque.arguments import LONGEST, checked_number, checked_seconds
from macaque.dead_letter import dead_topic
from macaque.hooks import Hooks
from macaque.kinds import Kind, kind_of
from macaque.typed import Codec
from mqlight.amqp.topics import TopicError, validate_pattern, validate_topic
from mqlight.functions import name_of

__all__ = ["MAX_CREDIT", "Registry", "Service"]

Function = Callable[..., Any]

SHARE_TTL = 24 * 3600
"""Seconds that the requests to a shared service are kept while none of its members is connected."""
MAX_DELIVERIES = 5
"""Default number of delivery attempts."""
LONGEST_WINDOW = 24 * 3600
MAX_ATTEMPTS = 1000
MAX_CREDIT = 1000
"""The most functions of one service that may run at a time: each slow function takes a thread."""


@dataclass(frozen=True)
class Service:
    """A function and its topic, or pattern of topics. Processes with one `share_id` share the requests."""

    topic: str
    share_id: str | None
    credit: int | None
    """The number of requests that run at a time; None: the setting of the server."""
    function: Function
    max_deliveries: int = MAX_DELIVERIES
    """Delivery attempts for a request. Then it becomes a dead letter."""
    ttl: int = 0
    """Seconds that the subscription outlives its members."""
    idempotent_for: float | None = None
    """Seconds that results are remembered for repeated calls."""
    timeout: float | None = None
    """Seconds in which the function must return; None: the setting of the server."""
    safe: bool = False
    """Whether the function changes nothing, so that callers over HTTP may use GET."""
    codec: Codec = field(kw_only=True, compare=False, repr=False)
    """The types of the function."""
    hooks: tuple[Hooks, ...] = field(default=(), kw_only=True, compare=False, repr=False)
    """The hooks around the function: those of the server, of its blueprint, of a blueprint in that, ..."""

    def settled(self, credit: int, timeout: float | None) -> Service:
        """Return the service with these values for those that it does not tell."""
        own = replace(self, credit=credit) if self.credit is None else self
        return replace(own, timeout=timeout) if own.timeout is None and timeout is not None else own

    @property
    def kind(self) -> Kind:
        """The kind of the function."""
        return kind_of(self.function)

    @property
    def name(self) -> str:
        return self.topic if self.share_id is None else f"{self.topic} (share {self.share_id})"


class Registry:
    """Services in the order in which they were added, at most one for each topic and share."""

    def __init__(self) -> None:
        self._services: dict[tuple[str, str | None], Service] = {}

    def __iter__(self) -> Iterator[Service]:
        return iter(tuple(self._services.values()))

    def __len__(self) -> int:
        return len(self._services)

    def add(
        self,
        topic: str,
        share_id: str | None,
        credit: int | None,
        function: Function,
        *,
        max_deliveries: int = MAX_DELIVERIES,
        ttl: int | None = None,
        idempotent_for: float | None = None,
        timeout: float | None = None,
        safe: bool = False,
        scope: Mapping[str, Any] | None = None,
        hooks: tuple[Hooks, ...] = (),
    ) -> Service:
        """Record a service and return it. `ttl` None means SHARE_TTL for a shared service, otherwise 0.

        Args:
            hooks: the hooks around the function, the outermost first.
            scope: names that the annotations of `function` may use, beside its globals.

        Raises:
            TypeError: an argument has a wrong type, `function` does not take one argument, or its annotations cannot be
                used. A name in them may still be undefined: then `service.codec.resolve` raises.
            ValueError: an argument has an invalid value, or the topic and share are taken.
        """
        _check_topic(topic)
        _check_share_id(share_id)
        if credit is not None:
            checked_number(credit, "credit", 1, MAX_CREDIT, "how many requests may be in work at a time")
        _check_function(function, topic)
        checked_number(max_deliveries, "max_deliveries", 1, MAX_ATTEMPTS, "how often a request is tried")
        if ttl is None:
            ttl = 0 if share_id is None else SHARE_TTL
        checked_number(ttl, "ttl", 0, LONGEST, "how many seconds requests are kept")
        if idempotent_for is not None:
            checked_seconds(idempotent_for, "idempotent_for", LONGEST_WINDOW)
            if kind_of(function).streams:
                raise ValueError(f"{name_of(function)} streams its replies, which idempotent_for does not remember.")
        if timeout is not None:
            checked_seconds(timeout)
        if not isinstance(safe, bool):
            raise TypeError(f"safe {safe!r} is not a bool: give True if the function changes nothing.")
        codec = Codec(topic, function, scope)
        service = Service(
            topic, share_id, credit, function, max_deliveries, ttl, idempotent_for, timeout, safe,
            codec=codec, hooks=hooks,
        )  # fmt: skip
        taken = self._services.setdefault((topic, share_id), service)
        if taken is not service:
            raise ValueError(
                f"The service {service.name!r} is {name_of(taken.function)} already: "
                f"give {name_of(function)} another topic or share_id."
            )
        return service


def _check_topic(topic: object) -> None:
    if callable(topic):
        raise TypeError("@app.service needs a topic: write @app.service('my/topic').")
    if not isinstance(topic, str):
        raise TypeError(f"The topic {topic!r} is not a str; give one such as 'my/topic'.")
    try:
        validate_pattern(topic)
        validate_topic(dead_topic(topic))
    except TopicError as error:
        raise ValueError(f"The topic {topic[:80]!r} cannot be one. {error}") from error


def _check_share_id(share_id: object) -> None:
    if share_id is None:
        return
    if not isinstance(share_id, str):
        raise TypeError(f"The share_id {share_id!r} is neither a str nor None.")
    if not share_id or ":" in share_id or not share_id.isprintable():
        raise ValueError(f"The share_id {share_id!r} needs at least one character, and no ':' or control character.")


def _check_function(function: object, topic: str) -> None:
    if not callable(function):
        raise TypeError(f"The service {topic!r} is {function!r}, which is not a function.")
