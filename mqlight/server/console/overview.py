"""The state of the whole server: its totals, its rates, and what needs attention. Pure: ``now`` is an argument."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from mqlight.server.broker import Broker
from mqlight.server.console import dead
from mqlight.server.console.clients import Clients
from mqlight.server.console.history import History
from mqlight.server.console.messages import Wall
from mqlight.server.console.services import Services
from mqlight.server.console.why import oldest, span

SERIES = 120
"""Seconds that the charts show."""


class Overview:
    """The figures in the header of every page, and the list of problems."""

    def __init__(self, broker: Broker, history: History, clients: Clients, services: Services, wall: Wall) -> None:
        self._broker = broker
        self._history = history
        self._clients = clients
        self._services = services
        self._wall = wall
        self._counted = 0
        self.rate = 0.0
        """Messages per second, counted over the last second."""
        self._series: deque[tuple[float, int]] = deque(maxlen=SERIES)
        """Messages per second and the number of waiting messages, for each of the last seconds."""

    @property
    def _messages(self) -> int:
        """The number of messages, without the console's own questions and their answers."""
        own = self._services.messages
        return self._broker.published + self._history.unrouted + self._history.refusals - own

    def second(self, passed: float) -> None:
        """Count the messages of the ``passed`` seconds."""
        total = self._messages
        self.rate = (total - self._counted) / passed if passed else 0.0
        self._counted = total

    def chart(self) -> None:
        """Add a point to the charts."""
        waiting = sum(each.count for each in self._broker.destinations.values())
        self._series.append((round(self.rate, 1), waiting))

    def totals(self, now: float) -> dict[str, Any]:
        """Return the figures of the header."""
        history, broker = self._history, self._broker
        first = next(iter(history.stories.values()), None)
        return {
            "messages": self._messages,
            "nobody": history.unrouted,
            "refused": history.refusals,
            "expired": broker.expired,
            "rate": round(self.rate, 1),
            "connected": self._clients.connected,
            "gone": self._clients.gone,
            "destinations": len(broker.destinations),
            "held": len(history.stories),
            "recorded": history.recorded,
            "fallen": history.fallen,
            "since": None if first is None else self._wall(first.at),
            "memory": history.taken,
            "memory_limit": history.memory,
            "sampling": now - history.sampling_at < 5.0,
            "dead": dead.count(broker),
            "series": list(self._series),
        }

    def attention(self, now: float) -> list[dict[str, str]]:
        """Return at most five lines about problems, each with the address of the page that shows the problem."""
        lines = []
        for each in self._broker.destinations.values():
            if each.count and not each.name.pattern.startswith(dead.TOPIC):
                where, link = str(each.name), f"/destinations/{each.number}"
                if not each.consumers:
                    lines.append((f"{where} has {_counted(each.count, 'message')} and no member", link))
                elif not any(consumer.credit > 0 for consumer in each.consumers):
                    since = [at for consumer in each.consumers if (at := oldest(consumer)) is not None]
                    if since and now - min(since) > 2.0:
                        lines.append((f"{where} has no credit since {span(now - min(since))}", link))
            if len(lines) >= 4:
                break
        if self._broker.journal is not None:  # only a slow disk keeps credit back
            lines += [(cause.text, "/clients") for cause in islice(self._clients.stuck(), 2)]
        if letters := dead.count(self._broker):
            lines.append((f"{_counted(letters, 'dead letter')} to mend, replay or drop", "/dead"))
        return [{"text": text, "link": link} for text, link in lines]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
