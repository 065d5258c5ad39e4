"""One client of the server: its SASL exchange, its engine, and its links to the broker.

Pure, like the parts that it connects: the listener moves the bytes and passes the time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.text import control_in
from mqlight.amqp.types import Condition, Handle, Outcome, Peer
from mqlight.server.broker import Broker
from mqlight.server.client import MEASURED, Client
from mqlight.server.grants import Grants
from mqlight.server.limits import Limits
from mqlight.server.permissions import User
from mqlight.server.sasl import Identity, SaslServer, Verdict

log = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds within which a client must answer a close frame."""


class ServerProtocol:
    """The server's side of one client's connection.

    Args:
        broker: The server's broker.
        address: The client's address and port, for the log.
        check: ``check(identity)`` returns the user who logs in, or the reason why the login is refused. It returns
            None if :meth:`decide` is called later with the answer.
        dirty: ``dirty(client)`` is called when there is output to flush.
        named: ``named(client)`` is called when the client has sent its id. It returns the reason why the client may
            not have that id, or None.
        heartbeat: Seconds of silence after which the connection counts as lost.
        limits: The server's limits.
        properties: The properties in the server's open frame.
        mechanisms: The SASL mechanisms that the client may use.
        grants: The class that decides on the client's links.
    """

    engine: Engine  # made after the login: until then a client costs no more than its socket

    def __init__(
        self,
        broker: Broker,
        *,
        address: str,
        check: Callable[[Identity], User | str | None],
        dirty: Callable[[Client], None],
        named: Callable[[Client], Condition | None],
        heartbeat: float,
        limits: Limits,
        properties: dict[str, str],
        mechanisms: tuple[str, ...] = ("ANONYMOUS", "PLAIN"),
        grants: type[Grants] = Grants,
    ) -> None:
        self.client = Client(broker, limits, address, dirty, time.monotonic())
        self.limits = limits
        self._grants = grants(self.client)
        self._named = named
        self._check = check
        self._sasl: SaslServer | None = SaslServer(self._verdict, mechanisms)
        """The SASL exchange; None after the login."""
        self._opened = False
        self.hurries = False
        """Whether to call :meth:`tick` now, because the client has just sent the interval of its heartbeats."""
        self._began: float | None = None
        self._heartbeat = heartbeat
        self._properties = properties
        self._early = b""
        self._leave_at: float | None = None
        self._cut_off = False
        self._unmeasured = 0
        self._unfinished = 0
        self.ended: str | None = None
        """The reason why the connection has ended, as far as it is known."""

    @property
    def closed(self) -> bool:
        """Whether the connection is over, apart from its last output."""
        return self.client.closed

    # Bytes, which the listener moves

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the client."""
        self.client.now = now
        if self._cut_off:
            return  # the client went beyond a limit, and the server only waits for its close
        if self._sasl is None:
            self.engine.receive(data)
            self._unmeasured += len(data)
            if self._unmeasured > MEASURED:
                self._measure()
        else:
            self._early += self._sasl.receive(data)
            self._log_in(self._sasl)
        self.client.dirty(self.client)

    @property
    def pending(self) -> bool:
        """Whether a login waits for :meth:`decide`. Do not call :meth:`receive` until then."""
        return self._sasl is not None and self._sasl.pending

    def _verdict(self, identity: Identity) -> Verdict:
        answer = self._check(identity)
        return None if answer is None else self._let_in(answer)

    def _let_in(self, answer: User | str) -> bool | str:
        """Return SASL's verdict, and remember the user who logs in."""
        if isinstance(answer, User):
            self.client.user = answer
            return True
        return answer

    def decide(self, answer: User | str, now: float) -> None:
        """Finish a login for which ``check`` returned None: with the user, or with the reason for a refusal."""
        self.client.now = now
        if self._sasl is not None and self._sasl.pending and not self.closed:
            self._early += self._sasl.decide(self._let_in(answer))
            self._log_in(self._sasl)
            self.client.dirty(self.client)

    def _log_in(self, sasl: SaslServer) -> None:
        if sasl.failed:
            log.warning("%s: refused: %s", self.client.address, sasl.failed)
            self.client.closed = True
        elif sasl.finished:
            self._sasl = None
            limits = self.limits
            self.engine = self.client.engine = Engine(
                self,
                server=True,
                container_id="mqlight-server",
                heartbeat=self._heartbeat,
                max_frame_size=limits.frame_size,
                max_message_size=limits.message_size,
                max_sessions=limits.sessions,
                properties=self._properties,
                offered=self._grants.offered,
            )
            if sasl.rest:
                self.engine.receive(sasl.rest)

    def output(self) -> bytes:
        """Return the bytes to send to the client now. Report with :meth:`sent` how many of them were sent."""
        fault, self.client.fault = self.client.fault, None
        if fault is not None:
            self.close(fault, self.client.now)
        return self._early or (self.engine.output() if self._sasl is None else b"")

    def sent(self, size: int) -> None:
        if self._early:
            self._early = self._early[size:]
            return
        self.engine.sent(size)
        self.client.has_read()

    def end_of_input(self, now: float) -> None:
        """Note that the client's socket is closed."""
        self.client.now = now
        self.ended = self.ended or "the client's socket was closed without a farewell"
        if self._sasl is None:
            try:
                self.engine.end_of_input()
            finally:  # the client's messages go back even if the engine fails
                self.client.give_back()
                self._forget_buffers()
        self.client.closed = True

    def tick(self, now: float) -> float | None:
        """Let time pass: send heartbeats, and end a client that is silent, does not log in or does not answer a close.

        Returns:
            The time by which to call again, if it is known.
        """
        self.client.now = now
        self._began = self._began or now
        if self._leave_at is not None and now >= self._leave_at:
            self.client.closed = True
            self._forget_buffers()
        elif not self._opened and not self.closed and now >= self._began + self.limits.login_time:
            log.warning("%s: not logged in in time (%s)", self.client.address, self.limits.flag("login_time"))
            self.client.closed = True
        due = self.engine.tick(now) if self._sasl is None else None
        self.client.dirty(self.client)
        return due

    def close(self, condition: Condition, now: float) -> None:
        """Close the connection. The client's unsettled messages go back to their destinations."""
        self.client.now = now
        self.ended = self.ended or f"the server has closed it: {condition}"
        if self._sasl is None:
            self._leave_at = now + CLOSE_TIMEOUT
            try:
                self.engine.close(condition)
            finally:
                self.client.give_back()
        else:
            self.client.closed = True
        self.client.dirty(self.client)

    def _cut(self, condition: Condition) -> None:
        """Close the connection of a client that went beyond a limit, and ignore all further input."""
        log.warning("%s: cut off: %s", self.client, condition.description)
        self._cut_off = True
        self.close(condition, self.client.now)

    def _measure(self) -> None:
        """Measure the memory of unfinished messages, and cut the client off if it takes too much."""
        unfinished = self.engine.unfinished()
        self._unmeasured = 0
        self._count_unfinished(unfinished)
        most = max(4 * self.limits.message_size, 1024 * 1024)
        if unfinished > most:
            self._cut(self.limits.reached("message_size", f"there are {unfinished} bytes of unfinished messages"))
        elif unfinished > MEASURED and self.client.broker.capacity.memory() > self.limits.memory:
            self._cut(self.limits.reached("memory", f"there are {unfinished} bytes of unfinished messages"))

    def _count_unfinished(self, unfinished: int) -> None:
        self.client.broker.capacity.unfinished += unfinished - self._unfinished
        self._unfinished = unfinished

    # Events of the client (engine.Handler)

    def on_open(self, peer: Peer) -> None:
        client = self.client
        self._opened = self.hurries = True
        client.properties = peer.properties
        refusal = self._refusal_of_name(peer.container_id)
        if refusal is None:
            client.client_id = peer.container_id
            client.user = client.user._replace(permissions=client.user.permissions.of_client(client.client_id))
            refusal = self._named(client)
        self.engine.open()
        if refusal is not None:
            log.warning("%s: refused: %s", client.address, refusal.description)
            client.client_id = ""
            self.close(refusal, client.now)
        else:
            log.info("%s: connected as %s", client, client.user)

    def _refusal_of_name(self, client_id: str) -> Condition | None:
        reason = None
        if len(client_id) > self.limits.name_length:
            reason = f"a client id of {len(client_id)} characters is too long ({self.limits.flag('name_length')})"
        elif (control := control_in(client_id)) is not None:
            reason = f"the client id has the control character {control}; take it out"
        return None if reason is None else Condition("amqp:invalid-field", reason)

    def on_attach(self, link: Link) -> None:
        limits, count = self.limits, len(self.engine.links())
        if count > limits.links:
            excess = limits.reached("links", f"this connection has {count - 1} links already")
            link.refuse(excess)
            if count == limits.links + 1:
                log.warning("%s: link %.80s refused: %s", self.client, link.name, excess)
            elif count > 2 * limits.links:  # a refused link counts until the client has detached it
                self._cut(excess)
            return
        if self._leave_at is not None:
            link.refuse(Condition("amqp:connection:forced", "this connection is closing"))
            return
        refusal = self._grants.attach(link)
        if refusal is not None:
            log.warning(
                "%s %s: link %.80s refused: %s",
                self.client.address,
                self.client.client_id,
                link.name,
                refusal.description,
            )
            link.refuse(refusal)

    def _forget_buffers(self) -> None:
        """Stop counting the memory that the ended connection took."""
        self._count_unfinished(0)
        self.client.forget_output()

    # Each served link has a handler of its own. These methods get the events of refused links.

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

    def on_close(self, condition: Condition | None) -> None:
        self.ended = self.ended or ("the client has closed it" if condition is None else str(condition))
        if condition is not None:
            log.info(
                "%s %s: connection over: %s%s",
                self.client.address,
                self.client.client_id,
                condition,
                self._hint(condition),
            )
        self.client.closed = True
        self.client.give_back()
        self._forget_buffers()

    def _hint(self, condition: Condition) -> str:
        """Return the flag of the limit that the engine found exceeded, in brackets; else the empty string."""
        if "channel-max" in condition.description:
            return f" ({self.limits.flag('sessions')})"
        if "max-frame-size" in condition.description:
            return f" ({self.limits.flag('frame_size')})"
        return ""
