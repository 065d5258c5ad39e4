"""A connection in memory: the client's session, the engine of both ends, and the broker's session for it.

It is what `mqlight.connection.Connection` is to a socket. Only bytes pass between the two ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

from macaque.testing.hub import Hub, Lane
from mqlight.amqp.capabilities import Marks
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome, Peer
from mqlight.connection import State
from mqlight.delivery import Delivery, hand_over
from mqlight.dialects.base import Dialect
from mqlight.errors import MQLightError, NetworkError, NoRoomError, StoppedError
from mqlight.log import Log
from mqlight.outgoing import OnOutcome, Outgoing
from mqlight.outlet import BUFFER
from mqlight.protocol import ClientProtocol
from mqlight.server.broker import Broker
from mqlight.server.limits import Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.protocol import ServerProtocol
from mqlight.subscription import Subscription

__all__ = ["Memory"]

log = Log(__name__)

URL = "memory:"
AGAIN = 0.1
"""Seconds until a connection that was cut is made again."""
PRODUCT = "macaque mqlight server"


class Memory:
    """A transport to the broker of `hub`: see `macaque.transport.Transport`."""

    def __init__(self, hub: Hub, client_id: str, on_state: Callable[[State, Exception | None], None] | None) -> None:
        self.client_id = client_id
        self.state = State.STOPPED
        self.error: Exception | None = None
        self.due = inf
        self.sent: Callable[[str, bytes], None] = lambda topic, message: None
        """Called with each message that is published."""
        self.aside = False
        """Whether the functions of the next subscription run on threads of their own."""
        self._hub = hub
        self._told_state = on_state
        self._every: list[Callable[[float], float | None]] = []
        self._protocol = ClientProtocol(on_state=self._on_session, on_room=lambda: None, wake=self.wake, clock=self.now)
        self._engine: Engine | None = None
        self._served: ServerProtocol | None = None

    @property
    def url(self) -> str | None:
        return URL if self._engine else None

    @property
    def dialect(self) -> Dialect | None:
        return self._protocol.dialect

    @property
    def peer(self) -> Peer | None:
        return self._protocol.peer

    def start(self) -> None:
        with self._hub.held():
            if self.state is not State.STOPPED:
                return
            self._hub.members.append(self)
            self._set_state(State.STARTING, None)
            self._begin()
        self._hub.go()

    def wait_started(self, timeout: float) -> None:
        if not self._hub.until(lambda: self.state is State.STARTED or self.error is not None, timeout):
            raise NetworkError(f"no connection within {timeout:g} s", url=URL)
        if self.state is not State.STARTED and self.error is not None:
            raise self.error

    def stop(self, timeout: float = 10.0) -> None:
        hub, protocol = self._hub, self._protocol
        with hub.held():
            if self.state in (State.STOPPED, State.STOPPING):
                return
            self._set_state(State.STOPPING, self.error)
            protocol.subscriptions.pause()
        end = hub.now + timeout
        hub.until(lambda: not protocol.connected or not protocol.subscriptions.holds, timeout)
        with hub.held():
            if protocol.connected and (left := protocol.subscriptions.release_held()):
                log.warning("%s stops with %d unfinished messages; they go back to the server", self.client_id, left)
        hub.until(
            lambda: not protocol.connected or not (protocol.senders.outstanding or protocol.subscriptions.forgets),
            max(0.0, end - hub.now),
        )
        with hub.held():
            if self._engine is not None:
                self._engine.close()
                self.move()
            self._end(None)
        hub.go()

    def _begin(self) -> None:
        """Connect. Needs the lock."""
        if self.state is State.STOPPED:
            return
        self._engine = Engine(self._protocol, server=False, container_id=self.client_id)
        self._served = _served(self._hub.core, self.client_id)
        self._protocol.begin(self._engine, self.client_id)

    def cut(self) -> None:
        """Lose the connection, as if the cable were pulled. It is made again after a moment of the broker's time."""
        with self._hub.held():
            if self._engine is not None:
                self._lost(NetworkError("the connection was cut", url=URL))
        self._hub.go()

    def _lost(self, error: Exception) -> None:
        """Handle the end of a connection. Needs the lock."""
        self._unplug()
        self._protocol.end()
        if self.state is not State.STOPPING:
            self._set_state(State.RETRYING, error)
            self._protocol.timers.set(self._hub.now + AGAIN, self._begin)

    def _end(self, error: Exception | None) -> None:
        self._unplug()
        with suppress(ValueError):
            self._hub.members.remove(self)
        self._protocol.give_up(Condition("amqp:connection:forced", "the client was stopped"))
        self._set_state(State.STOPPED, error)

    def _unplug(self) -> None:
        served, self._served, self._engine = self._served, None, None
        if served is not None and not served.closed:
            served.end_of_input(self._hub.now)

    def _set_state(self, state: State, error: Exception | None) -> None:
        self.state, self.error = state, error
        if self._told_state is not None:
            self._told_state(state, error)

    # Bytes and time (Member)

    def move(self) -> bool:
        """Move the waiting bytes in both directions. Return whether there were any."""
        engine, served, now, moved = self._engine, self._served, self._hub.now, False
        if engine is None or served is None:
            return False
        while data := engine.output():
            engine.sent(len(data))
            served.receive(data, now)
            moved = True
        while data := served.output():
            served.sent(len(data))
            engine.receive(data)
            moved = True
        if not moved and engine.closed:
            self._lost(self.error or NetworkError("the broker closed the connection", url=URL))
            return True
        return moved

    def tick(self, now: float) -> None:
        """Do the work that is due."""
        self.due = inf
        with self._hub.held():
            next_at = self._protocol.timers.run(now)
        for at in next_at, *(call(now) for call in self._every):
            if at is not None:
                self.wake(at)

    def now(self) -> float:
        return self._hub.now

    def wall(self) -> float:
        return self._hub.wall()

    def every(self, call: Callable[[float], float | None]) -> None:
        self._every.append(call)

    def wake(self, at: float) -> None:
        self.due = min(self.due, at)

    # Requests of the application

    def lane(self, width: int) -> Lane:
        return Lane(self._hub, width)

    def run_soon(self, task: Callable[[], object]) -> None:
        self._hub.submit(self.lane(1), task, ())

    def before_blocking(self) -> None:
        self._hub.go()

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        return self._hub.until(lambda: lock.acquire(blocking=False), seconds)

    @contextmanager
    def batch(self) -> Iterator[None]:
        yield

    def publish(
        self,
        topic: str,
        message: bytes,
        *,
        mandatory: bool = False,
        on_outcome: OnOutcome | None = None,
        timeout: float | None = None,
    ) -> bool:
        hub, senders = self._hub, self._protocol.senders
        if senders.waiting >= BUFFER:
            hub.until(lambda: senders.waiting < BUFFER or self.state is State.STOPPED, timeout)
            if senders.waiting >= BUFFER:
                raise NoRoomError(f"no room to send for {timeout:g} s: {senders.waiting} messages wait already")
        with hub.held():
            if not senders.connected and self.state in (State.STOPPED, State.STOPPING):
                raise StoppedError(f"the client is {self.state.value}, so it cannot send")
            self.sent(topic, message)
            senders.send(Outgoing(topic, message, False, mandatory, on_outcome))
        hub.go()
        return not senders.waiting

    def subscribe(
        self,
        pattern: str,
        share: str | None = None,
        *,
        ttl: int = 0,
        credit: int = 1024,
        max_deliveries: int = 0,
        marks: Marks = Marks.NONE,
        lane: Any = None,
        on_delivery: Callable[[Delivery], object],
        on_subscribed: Callable[[Exception | None], None] | None = None,
    ) -> Subscription:
        def on_message(link: Link, handle: Handle, data: bytes, settled: bool) -> None:
            delivery = Delivery(self, subscription, link, handle, data, settled)
            delivery.arrived = self._hub.now
            if lane is None:
                hand_over(delivery, on_delivery)
            else:
                lane.submit(hand_over, delivery, on_delivery)

        if lane is not None:
            lane.aside, self.aside = self.aside, False
        subscription = Subscription(
            pattern,
            share,
            qos=1,
            ttl=ttl,
            credit=credit,
            on_message=on_message,
            on_subscribed=on_subscribed,
            max_deliveries=max_deliveries,
            marks=marks,
        )
        with self._hub.held():
            self._protocol.subscriptions.subscribe(subscription)
        self._hub.go()
        return subscription

    def unsubscribe(
        self,
        subscription: Subscription,
        *,
        forget: bool,
        on_unsubscribed: Callable[[Exception | None], None] | None = None,
    ) -> None:
        with self._hub.held():
            self._protocol.subscriptions.unsubscribe(subscription, forget=forget, on_ended=on_unsubscribed)
        self._hub.go()

    def pause(self) -> None:
        with self._hub.held():
            self._protocol.subscriptions.pause()
        self._hub.go()

    def add_credit(self, subscription: Subscription, messages: int) -> None:
        with self._hub.held():
            subscription.add_credit(messages)
        self._hub.go()

    def settle(self, delivery: Delivery, outcome: Outcome | None, condition: Condition | None) -> bool:
        with self._hub.held():
            done = delivery.subscription.settle(delivery.link, delivery.handle, outcome, condition)
        self._hub.go()
        return done

    def begin(self, delivery: Delivery) -> None:
        with self._hub.held():
            delivery.link.mark_received(delivery.handle)
        self._hub.go()

    # Events of the session

    def _on_session(self, connected: bool, error: MQLightError | None) -> None:
        if not connected:
            self.error = error
        elif self.state is not State.STOPPING:
            self._set_state(State.STARTED, None)


def _served(broker: Broker, address: str) -> ServerProtocol:
    """Return the broker's end of a connection, for a client that may do everything."""
    return ServerProtocol(
        broker,
        address=address,
        check=lambda identity: User(None, EVERYTHING),
        dirty=lambda connection: None,
        named=lambda connection: None,
        heartbeat=0.0,
        limits=Limits(),
        properties={"product": PRODUCT},
    )
