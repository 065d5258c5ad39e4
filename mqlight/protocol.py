"""The client's end of a connection, over one connection after the other.

:class:`mqlight.senders.Senders` and :class:`mqlight.subscriptions.Subscriptions` outlive a connection. This file begins
and ends them with it: messages are sent when everything that the subscriptions need is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome, Peer
from mqlight.dialects import dialect_of
from mqlight.dialects.base import AddressError, Dialect
from mqlight.errors import MQLightError, NetworkError, NotPermittedError, error_of
from mqlight.senders import Senders
from mqlight.subscriptions import Subscriptions
from mqlight.timers import Timers

__all__ = ["ClientProtocol"]


class ClientProtocol:
    """The client's end of the contract. It is the engine's handler while there is an engine.

    Pure: bytes, time and chance come from outside, and one thread at a time calls it.

    Args:
        on_state: Called ``(connected, error)`` when the connection is ready, and when it has ended.
        on_room: Called when a waiting message was sent or settled, or credit or a subscription is gone.
        wake: Called with the time at which to run ``timers`` at the latest.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        *,
        on_state: Callable[[bool, MQLightError | None], None],
        on_room: Callable[[], None],
        wake: Callable[[float], object] = lambda at: None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.engine: Engine | None = None
        self.dialect: Dialect | None = None
        """The dialect of the connected server."""
        self.peer: Peer | None = None
        """The properties that the last connected server sent about itself."""
        self.timers = Timers(wake)
        self.senders = Senders(self.timers, clock, on_room)
        self.subscriptions = Subscriptions(
            self.timers, clock, on_room=on_room, on_ready=self._ready, on_stuck=self._begin_again
        )
        self._client_id = self._nonce = ""
        self._options: Mapping[str, str] = {}
        self._verdict: MQLightError | None = None
        """The error for which this client ends the connection itself."""
        self._on_state = on_state
        self._on_room = on_room

    @property
    def connected(self) -> bool:
        """Whether the server has sent its open frame and everything that the subscriptions need is declared."""
        return self.senders.connected

    def begin(
        self, engine: Engine, client_id: str = "", options: Mapping[str, str] | None = None, nonce: str = ""
    ) -> None:
        """Begin a connection. ``options`` are those of its URL, ``nonce`` tells it from earlier connections."""
        self.engine = engine
        self._client_id = client_id
        self._options = options or {}
        self._nonce = nonce
        self.subscriptions.unpause()
        engine.open()

    def end(self) -> None:
        """Handle the end of the connection. Messages and subscriptions wait for the next one."""
        self.senders.end()
        self.engine = self.dialect = self._verdict = None
        self.subscriptions.end()

    def give_up(self, condition: Condition) -> None:
        """Give up: there is no next connection, and every waiting message is released with ``condition``."""
        self.end()
        self.subscriptions.give_up()
        self.senders.give_up(condition)
        self._on_room()

    def _ready(self) -> None:
        assert self.engine is not None and self.dialect is not None
        self.senders.begin(self.engine, self.dialect)
        self._on_state(True, None)

    def _begin_again(self, condition: Condition) -> None:
        """End this connection, because the broker refuses what it allowed before. The next connection asks again."""
        self._leave(NetworkError(str(condition)), Condition("amqp:connection:forced", "the client begins again"))

    def _leave(self, error: MQLightError, condition: Condition) -> None:
        assert self.engine is not None
        self._verdict = self._verdict or error
        self.senders.leaving = self.subscriptions.leaving = True
        self.engine.close(condition)

    # Events from the server (engine.Handler)

    def on_open(self, peer: Peer) -> None:
        if self.dialect is not None or self.engine is None:
            return
        self.peer = peer
        try:
            self.dialect = dialect_of(peer, self._options)
        except AddressError as error:
            said = f"this server cannot be used: {error}"
            self._leave(NotPermittedError(said, condition=error.condition.name), error.condition)
            return
        self.subscriptions.begin(self.engine, self.dialect, self._client_id, self._nonce)

    def on_attach(self, link: Link) -> None:
        if link.local:
            self.subscriptions.on_attach(link)
        else:
            link.refuse(Condition("amqp:not-allowed", "a client accepts no links"))

    def on_close(self, condition: Condition | None) -> None:
        error = self._verdict or error_of(condition)
        if self.engine is not None and self.engine.failed and self._verdict is None:
            error = NetworkError(str(condition))  # this end found the fault: the server has refused nothing
        self._on_state(False, error)

    # Each link of the client has another handler. These methods get the events of refused links.

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        """Ignore a message on a refused link."""

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        """Ignore an outcome on a refused link."""

    def on_received(self, link: Link, token: Any) -> None:
        """Ignore a received state on a refused link."""

    def on_credit(self, link: Link) -> None:
        """Ignore credit on a refused link."""

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        """Ignore the detach of a refused link."""
