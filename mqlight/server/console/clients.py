"""Clients that are or were connected, with a card for each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mqlight.server.protocol import ServerProtocol

MOST_CARDS = 5000
GONE = 60.0
"""Seconds that the card of a disconnected client stays."""


class Clients:
    """The cards of clients.

    Args:
        connected: Returns the connected clients.
        wall: Converts a time on the broker's clock to ms since 1970.
    """

    def __init__(self, connected: Callable[[], Iterable[ServerProtocol]], wall: Callable[[float], int]) -> None:
        self._connected = connected
        self._wall = wall
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
                self._note(cast("ServerProtocol", sender), now, passed)
        for name, card in list(self._cards.items()):
            if name not in here:
                if card["gone"] is None:
                    card["gone"], card["rate"] = self._wall(now), 0.0
                elif self._wall(now) - card["gone"] > GONE * 1000:
                    del self._cards[name]

    def _note(self, client: ServerProtocol, now: float, passed: float) -> None:
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

    def cards(self, most: int) -> list[dict[str, Any]]:
        """Return the first ``most`` cards: connected clients first, and among them the latest senders first."""
        cards = self._cards.values()
        return sorted(cards, key=lambda card: (card["gone"] is not None, -(card["last"] or 0), card["id"]))[:most]

    @property
    def connected(self) -> int:
        return sum(card["gone"] is None for card in self._cards.values())

    @property
    def gone(self) -> int:
        return len(self._cards) - self.connected


def _library(client: ServerProtocol) -> str:
    parts = [str(client.properties.get(name, ""))[:80] for name in ("product", "version", "platform")]
    return " ".join(part for part in parts if part)
