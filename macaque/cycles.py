"""Circles of services that wait for each other. Each waiting function leaves one place less for the reply.

A function that calls its own service and waits takes one place of the service's credit, and its call needs another
place. When all places wait like that, none is left to reply, and all wait until their calls time out. A circle of
services does the same. A call reports the topic when its wait begins (`macaque.context.Home.about_to_wait`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from macaque.registry import Service
from mqlight.amqp.topics import matches
from mqlight.log import Log

__all__ = ["Cycles"]

log = Log("macaque.worker", BaseException)

KNOWN = 4096
"""The most topics that are remembered, so that a service that always waits for new topics costs no more memory."""


class Cycles:
    """The waits between the services of one server. `services` returns the services."""

    def __init__(self, services: Callable[[], Iterable[Service]]) -> None:
        self._services = services
        self._known: set[tuple[Service, str]] = set()
        self._waits: dict[Service, set[Service]] = {}
        self._told: set[frozenset[Service]] = set()

    def wait(self, service: Service, topic: str) -> None:
        """Note that `service` waits for `topic`. Log a circle, the first time that the wait closes it."""
        circle = self.add(service, topic)
        if circle is not None:
            log.warning(
                "%s: a service that waits for a call to itself keeps a place of its credit (%d). When all places wait, "
                "no request is answered. Use a callback instead of waiting, another topic, or more "
                "credit", " waits for ".join(each.name for each in circle), service.credit,
            )  # fmt: skip

    def add(self, service: Service, topic: str) -> list[Service] | None:
        """Note that `service` waits for `topic`. Return a new circle from the service to itself, if this closes one."""
        if (service, topic) in self._known or len(self._known) >= KNOWN:
            return None
        self._known.add((service, topic))
        targets = [each for each in self._services() if matches(each.topic, topic)]
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
