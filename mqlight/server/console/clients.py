"""Clients that are or were connected, with a card for each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, cast

from mqlight.server.broker import Broker
from mqlight.server.console.messages import Messages, Seen
from mqlight.server.console.why import Cause, of_sender, oldest
from mqlight.server.destination import Consumer
from mqlight.server.links import Publisher

if TYPE_CHECKING:
    from mqlight.server.permissions import User

CARDS = 100
"""The most cards of a column."""
MOST_CARDS = 5000
LINKS, HELD = 100, 100
"""The most links, and the most messages in hand, that a client's page shows."""
GONE = 60.0
"""Seconds that the card of a disconnected client stays."""


class Client(Protocol):
    """A connected client, as far as the pages show it."""

    client_id: str
    address: str
    user: User
    properties: dict[str, object]
    """The properties in the client's open frame."""
    unsent: int
    clogged: bool

    @property
    def served(self) -> Mapping[Any, object]:
        """The client's links and their handlers."""

    @property
    def messages_sent(self) -> int: ...


class Clients:
    """The cards of clients.

    Args:
        connected: Returns the connected clients.
        broker: The server's broker.
        messages: The remembered messages.
    """

    def __init__(self, connected: Callable[[], Iterable[Client]], broker: Broker, messages: Messages) -> None:
        self._connected = connected
        self._broker = broker
        self._messages = messages
        self._wall = messages.wall
        self._cards: dict[str, dict[str, Any]] = {}

    def second(self, senders: dict[str, object], now: float, passed: float) -> None:
        """Note which clients connected, disconnected and sent in the ``passed`` seconds.

        ``senders`` are the clients that sent, by name. A client may have connected and disconnected meanwhile.
        """
        here: set[str] = set()
        for client in self._connected():
            if client.client_id:
                here.add(client.client_id)
                self._note(client, now, passed)
        for name, sender in senders.items():
            known = name == getattr(sender, "client_id", "") and hasattr(sender, "messages_sent")
            if known and name not in here and len(self._cards) < MOST_CARDS:
                self._note(cast("Client", sender), now, passed)
        for name, card in list(self._cards.items()):
            if name not in here:
                if card["gone"] is None:
                    card["gone"], card["rate"] = self._wall(now), 0.0
                elif self._wall(now) - card["gone"] > GONE * 1000:
                    del self._cards[name]

    def _note(self, client: Client, now: float, passed: float) -> None:
        card = self._cards.get(client.client_id)
        if card is None or card["address"] != client.address:
            card = self._cards[client.client_id] = {
                "id": client.client_id, "address": client.address, "user": client.user.name,
                "library": _library(client), "since": self._wall(now), "sent": 0, "rate": 0.0, "last": None,
                "gone": None,
            }  # fmt: skip
        sent = client.messages_sent
        card["rate"] = round((sent - card["sent"]) / passed, 1) if passed else 0.0
        if sent != card["sent"]:
            card["sent"], card["last"] = sent, self._wall(now)

    def cards(self, most: int = CARDS) -> list[dict[str, Any]]:
        """Return the first ``most`` cards: connected clients first, and among them the latest senders first."""
        cards = self._cards.values()
        return sorted(cards, key=lambda card: (card["gone"] is not None, -(card["last"] or 0), card["id"]))[:most]

    def detail(self, name: str, now: float, seen: Seen) -> dict[str, Any] | None:
        """Return the card of a client with its links and the messages that it has; None if it is unknown."""
        client = next((each for each in self._connected() if each.client_id == name), None)
        if client is not None and name not in self._cards:
            self._note(client, now, 0.0)
        card = self._cards.get(name)
        if card is None:
            return None
        consumers, sends = [], []
        if client is not None:
            places = self._broker.destinations.values()
            consumers = [each for place in places for each in place.consumers if each.client is client]
            sends = [each for each in client.served.values() if isinstance(each, Publisher)]
        links = [_receives(each, now) for each in consumers] + [_sends(each) for each in sends]
        held = ((message, each.destination.name.pattern) for each in consumers for message in each.held())
        return {
            **card,
            "unread": 0 if client is None else client.unsent,
            "clogged": client is not None and client.clogged,
            "links": links[:LINKS],
            "count": len(links),
            "holds": [self._messages.queued(each, pattern, name, now, seen) for each, pattern in islice(held, HELD)],
        }

    def stuck(self) -> Iterator[Cause]:
        """Yield why clients have no credit to send."""
        for client in self._connected():
            for link in client.served.values():
                if isinstance(link, Publisher) and (cause := of_sender(link)) is not None:
                    yield cause

    @property
    def connected(self) -> int:
        return sum(card["gone"] is None for card in self._cards.values())

    @property
    def gone(self) -> int:
        return len(self._cards) - self.connected


def _sends(link: Publisher) -> dict[str, Any]:
    cause = of_sender(link)
    return {
        "direction": "sends", "address": link.topic, "destination": None, "credit": link.link.credit,
        "messages": link.sent, "unsettled": 0, "oldest": None, "at_most_once": False,
        "why": None if cause is None else cause._asdict(),
    }  # fmt: skip


def _receives(consumer: Consumer, now: float) -> dict[str, Any]:
    at = oldest(consumer) if consumer.holds else None
    return {
        "direction": "receives", "address": str(consumer.destination.name),
        "destination": consumer.destination.number, "credit": consumer.credit, "messages": consumer.taken,
        "unsettled": consumer.holds, "oldest": None if at is None else round(now - at, 1),
        "at_most_once": consumer.at_most_once, "why": None,
    }  # fmt: skip


def _library(client: Client) -> str:
    parts = [str(client.properties.get(name, ""))[:80] for name in ("product", "version", "platform")]
    return " ".join(part for part in parts if part)
