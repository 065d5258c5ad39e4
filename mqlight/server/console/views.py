"""The data of the console's pages: one part for each noun. Pure: ``now`` is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mqlight.server.broker import Broker
from mqlight.server.console.calls import Calls
from mqlight.server.console.clients import Client, Clients
from mqlight.server.console.demo import Demo
from mqlight.server.console.destinations import CARDS, Destinations
from mqlight.server.console.history import History
from mqlight.server.console.mailbox import Mailbox
from mqlight.server.console.messages import Messages
from mqlight.server.console.overview import Overview
from mqlight.server.console.services import Services

if TYPE_CHECKING:
    from random import Random


class Views:
    """The data of all pages.

    Args:
        broker: The server's broker.
        history: The stories of the messages.
        clients: Returns the connected clients.
        run: A name of this run of the server, which is part of the messages' ids.
        offset: Seconds to add to the broker's clock to get the seconds since 1970.
        random: The chance in the demo.
    """

    def __init__(
        self,
        broker: Broker,
        history: History,
        clients: Callable[[], Iterable[Client]],
        run: str,
        offset: float,
        random: Random,
    ) -> None:
        self.broker = broker
        self.history = history
        self._offset = offset
        self._second_at: float | None = None
        self.messages = Messages(broker, history, run, self.wall)
        self.calls = Calls(self.messages)
        self.mailbox = Mailbox(broker, run)
        self.services = Services(broker, Mailbox(broker, f"{run}-services"))
        history.quiet |= self.services.topics
        self.demo = Demo(broker, random)
        self.clients = Clients(lambda: [*clients(), *self.demo.clients], broker, self.messages)
        self.destinations = Destinations(broker, self.messages)
        self.overview = Overview(broker, history, self.clients, self.services, self.wall)

    def wall(self, at: float) -> int:
        """Return a time in ms since 1970."""
        return int((at + self._offset) * 1000)

    def second(self, now: float, *, watched: bool) -> None:
        """Count rates, and note which clients connected and disconnected. Call this about once a second."""
        passed = 0.0 if self._second_at is None else max(now - self._second_at, 0.001)
        self._second_at = now
        self.overview.second(passed)
        senders, self.history.senders = self.history.senders, {}
        self.clients.second(senders, now, passed)
        if watched or len(self.broker.destinations) < CARDS:
            self.destinations.second(passed)
            self.overview.chart()
