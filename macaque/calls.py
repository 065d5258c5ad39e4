"""The calls of one client that are in flight, and the way in which each of them ends.

The rules of this file:

* Every call ends exactly once, by its deadline at the latest, with data or with one of the errors of this package. The
  code that takes a call out of the pending calls ends it.
* A gathering is a pending call like any other until its first reply. From then on it waits for more replies apart from
  the pending calls. It ends with the replies that came: by its deadline, by their number, or with the client.
* Memory is bounded. With too many calls in flight, or too many callbacks that have not returned, `send` waits. With too
  many gatherings that wait for more replies, those with the nearest deadline end early.
* `on_delivery`, `on_outcome` and `on_subscribed` run under the transport's lock. They are short, and call nothing of
  the transport except a lane.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from macaque.aio import Wakeup, Wakeups
from macaque.call import Call, Gathering
from macaque.callbacks import Callbacks
from macaque.control import cancel_topic, encode_cancel
from macaque.envelope import BadReply, Reply, decode_reply, expiry
from macaque.errors import Cancelled, ConnectionLost, MacaqueError, NoResponders, Timeout, lost, refusal
from macaque.futures import CallFuture
from macaque.observe.observer import Observer
from macaque.observe.tracing import Tracing
from macaque.pending import MAXIMUM, Added, Pending
from macaque.room import Room
from macaque.stream import Streaming, Streams
from macaque.transport import Transport
from macaque.unreadable import unreadable
from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import State
from mqlight.delivery import Delivery
from mqlight.errors import NoRoomError, StoppedError
from mqlight.log import Log, attempt
from mqlight.senders import EXPIRED

__all__ = ["KEPT", "LOOK", "Calls", "rescue"]

log = Log("macaque.client")

KEPT = 32_768
"""Gatherings that have a reply and wait for more: half of the calls in flight, so that they never fill all places."""
LOOK = 1.0
"""Seconds after which the reference to `owner` is dropped if all calls have ended by then."""
_ADDED = Added.YES


class Calls:
    """The calls of the client called `name`, over a transport of their own.

    They keep their `owner`, the client, alive while a call is in flight. The transport keeps only this object alive.

    Args:
        make: makes the transport, given `on_state`.
        maximum: the most calls in flight at a time.
        kept: the most gatherings at a time that have a reply and wait for more.
    """

    def __init__(self, make: Callable[..., Transport], name: str, *, maximum: int = MAXIMUM, kept: int = KEPT) -> None:
        transport = make(on_state=self.on_state)
        self.open = False
        """Whether calls can be sent: the client has started, is not closed, and the broker has not refused it."""
        self.closed = False
        self.refused: Exception | None = None
        """The error with which the broker refused this client."""
        self.observer: Observer | None = None
        self.tracing: Tracing | None = None
        self.callbacks = Callbacks(transport.lane(1))
        self.owner: object = None
        self._name = name
        self.transport = transport
        self.now = transport.now
        self.wall = transport.wall
        self._maximum = maximum
        self._pending: Pending[Call] = Pending(maximum)
        self._gatherings: Pending[Gathering] = Pending(kept)
        self._room = Room(self, transport, self._pending, maximum)
        self._parked = self._room.parked
        self._aside = transport.lane(1)
        self.streams = Streams(self, transport, self._aside)
        self._stores = self._pending, self._parked, self.streams.open
        self._wakeups = Wakeups()
        self.rescue_at = 0.0
        transport.every(self.expire)

    def __len__(self) -> int:
        return sum(map(len, self._stores)) + len(self._gatherings)

    @property
    def unanswered(self) -> int:
        """The number of calls without a reply."""
        return len(self._pending) + len(self._parked)

    # The beginning of a call

    def send(self, call: Call, message: bytes, owner: object) -> None:
        """Send the request of a call, which is in flight from now on.

        Raises:
            ValueError: a call with the same uuid has not ended.
            Timeout, ConnectionLost: there was no room before the call's deadline, or the client was closed.
        """
        full = len(self.callbacks.owed) > self._maximum or self._pending.add(call) is not _ADDED
        parked = full and self._room.wait(call)
        transport = self.transport
        if self.owner is None:
            self.owner = owner
            transport.wake(self.now() + LOOK)
        transport.wake(call.deadline)
        if parked:
            self._room.send_later(call, message)
            return
        try:
            transport.publish(call.topic, message, mandatory=True, on_outcome=call._on_outcome, timeout=0.0)
        except NoRoomError:
            self._room.publish(call, message)
        except StoppedError as error:
            if self._pending.take(call):
                self.returned(call)
                raise self.turned_away(call) from error

    def holds(self, call: Call) -> bool:
        return self._gatherings.holds(call) or any(store.holds(call) for store in self._stores)

    def turned_away(self, call: Call) -> MacaqueError:
        """Return the error of a call that could not be sent."""
        error = self.overdue(call)
        self._observe(call, error)
        return error

    def end(self, call: Call, data: Any, error: Exception | None) -> None:
        """End a call that was taken out of the pending calls."""
        call._end(data, error)
        self.ended(call, data, error)

    def ended(self, call: Call, data: Any, error: Exception | None) -> None:
        if self.observer is not None:
            self._observe(call, error)
        if call._on_result is not None or call._on_error is not None:
            self.callbacks.finish(call, self._tell, call, data, error)
        if self._room.wanted:
            self._room.notify()

    def _tell(self, call: Call, data: Any, error: Exception | None) -> None:
        if call in self.callbacks.owed:  # else it was told already
            try:
                call._tell(data, error)
            finally:
                self.returned(call)

    def returned(self, call: Call) -> None:
        """Forget a call whose callback has returned or will not be called, and report the free place."""
        self.callbacks.returned(call)
        if self._room.wanted:
            self._room.notify()

    def _observe(self, call: Call, error: Exception | None) -> None:
        if self.observer is not None:
            attempt(log, self.observer.call_ended, call, error)

    def overdue(self, call: Call) -> MacaqueError:
        """Return the error of a call that has no reply by its deadline."""
        if self.closed:
            return ConnectionLost(f"The client was closed before {call.topic!r} was called.", reason="closed")
        if call._accepted:
            said = f"No reply from {call.topic!r} within {call.timeout:g} s."
        elif self.transport.state is State.STARTED:
            said = f"The broker did not take the request to {call.topic!r} within {call.timeout:g} s."
        else:
            return self.lost(self.transport.error)
        return Timeout(said, topic=call.topic, timeout=call.timeout)

    def lost(self, error: Exception | None) -> ConnectionLost:
        """Return the error that the application gets for an error of the transport."""
        return lost(error, self.transport.url)

    def expire(self, now: float) -> float | None:
        """End the calls whose deadline has passed. Return the time when there is work again."""
        for store in self._stores:
            for call in store.expire(now):
                self.end(call, None, self.overdue(call))
        for gathering in self._gatherings.expire(now):
            self.finish(gathering)
        if now >= self.rescue_at:
            rescue(self, now)
        dues = [due for store in (*self._stores, self._gatherings) if (due := store.next_deadline()) is not None]
        owner, self.owner = self.owner, None
        if self.callbacks.owes or len(self) > 0:  # checked after the reset, because a call may be added at any time
            self.owner = owner
            dues.append(now + LOOK)
        return min(dues, default=None)

    def overtime(self, call: Call) -> None:
        """End a call whose deadline has passed, if it has not ended: the clock's thread may not run."""
        if self._take(call):
            self.end(call, None, self.overdue(call))
        elif isinstance(call, Gathering) and self._gatherings.take(call):
            self.finish(call)

    def _take(self, call: Call) -> bool:
        return any(store.take(call) for store in self._stores)

    def cancel(self, call: Call) -> bool:
        """End a call in Cancelled, and tell its service. Return False if it has ended."""
        if isinstance(call, Streaming):  # it may be in no store at the moment
            call.unwanted = True
        if not self._take(call) and not (isinstance(call, Gathering) and self._gatherings.take(call)):
            return False
        self.end(call, None, Cancelled(call.topic))
        self._tell_cancelled(call)
        return True

    def _tell_cancelled(self, call: Call) -> None:
        """Tell the service of a call that its reply is not wanted."""
        if call._waits_for_reply and self.transport.state is State.STARTED:
            topic = call._control or cancel_topic(call.topic)
            try:
                message = encode_cancel(call.uuid, topic, expiry(call._began, call.timeout), call.deadline - self.now())
                self.transport.publish(topic, message, timeout=0.0)
            except (NoRoomError, StoppedError):
                pass  # the service finds out by the deadline

    def close(self) -> None:
        """End all calls, because the client was closed. A second call ends calls that were sent meanwhile."""
        self.open, self.closed = False, True
        for call in [call for store in self._stores for call in store.clear()]:
            said = f"The client was closed before {call.topic!r} answered."
            self.end(call, None, ConnectionLost(said, reason="closed"))
            if isinstance(call, Streaming):
                self._tell_cancelled(call)
        for gathering in self._gatherings.clear():
            self.finish(gathering)
        self.owner = None
        self._room.notify()

    def give_up(self, error: Exception) -> None:
        """End all calls, because the broker refuses this client."""
        self.open, self.refused = False, error
        for call in [call for store in self._stores for call in store.clear()]:
            self.end(call, None, self.lost(error))
        for gathering in self._gatherings.clear():
            self.finish(gathering)

    def abandon(self) -> None:
        """End all calls in the child of a fork, because they belong to the parent. This object is not used again."""
        for call in [call for store in (*self._stores, self._gatherings) for call in store.all()]:
            call._abandon(ConnectionLost("The call belongs to the parent of this process.", reason="forked"))

    # Events of the transport, under its lock

    def on_delivery(self, delivery: Delivery) -> bool:
        """Give a reply to its call. Return True to accept it."""
        reply: Reply | None
        accepted = True
        try:
            reply = decode_reply(delivery.message)
        except BadReply as error:
            log.warning("rejected a message to the replies of %s: %s", self._name, error)
            delivery.reject("amqp:decode-error", str(error))
            accepted, reply = False, unreadable(delivery.message, error)
            if reply is None:
                return False
        uuid = reply.uuid
        call = self._pending.pop(uuid) or self._gatherings.pop(uuid) or self.streams.open.pop(uuid)
        if call is None:
            log.debug("dropped a late reply: %s", uuid)
            return accepted
        fault = None if reply.error is None else reply.error.exception()
        if reply.seq is not None and isinstance(call, Streaming):
            self.streams.on_part(call, reply, fault)
        elif call._on_reply(reply.data, fault):
            self.ended(call, reply.data, fault)
        elif isinstance(call, Gathering):
            self._gather(call, reply.data, fault)
        return accepted

    def _gather(self, call: Gathering, data: Any, error: Exception | None) -> None:
        """Report a reply to a gathering, and wait for more replies if the caller wants more."""
        if len(call._replies) == 1:  # for the observer, a call lasts until its first reply
            self._observe(call, error)
        if call._tells:
            self.callbacks.run(call._tell, data, error)
        if len(call._replies) >= call._most:
            self.finish(call)
        else:
            while self._gatherings.add(call) is Added.FULL:
                self.expire(self._gatherings.next_deadline() or 0.0)
        if self._room.wanted:
            self._room.notify()

    def finish(self, call: Gathering) -> None:
        """End a gathering with the replies that have arrived."""
        call._end(call._replies, None)
        if call._tells:
            self.callbacks.finish(call, self.returned, call)

    def requested(self, call: Call, outcome: Outcome, condition: Condition | None) -> None:
        """Take the outcome of a request that ends its call: a refusal, or the acceptance of a one-way message."""
        if self._pending.pop(call.uuid) is None:
            return
        error: MacaqueError | None = None
        if outcome is Outcome.ACCEPTED:
            pass
        elif condition is not None and condition.name == EXPIRED:
            said = f"The message to {call.topic!r} could not be sent before its time was over."
            error = Timeout(said, topic=call.topic, timeout=call.timeout)
        elif outcome is Outcome.RELEASED:
            # The broker's "released" has no condition. The connection's own, when it is given up, has one.
            error = NoResponders(call.topic) if condition is None else self.lost(self.transport.error)
        else:
            name, description = condition or ("amqp:modified", "it gave the request back")
            error = refusal(name, description)
        self.end(call, None, error)

    def on_subscribed(self, error: Exception | None) -> None:
        """Take the broker's answer to the subscription of the replies."""
        if error is not None:
            log.error("the broker does not let %s listen to its replies: %s", self._name, error)
            self.give_up(error)

    def on_state(self, state: State, error: Exception | None) -> None:
        if state is State.STARTED and self.observer is not None:
            attempt(log, self.observer.connected)
        if state is State.STOPPED and error is not None:
            self.give_up(error)

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        if len(self._pending) != 1:  # with many replies to come, it is quicker if another thread reads them
            self.transport.before_blocking()
        return self.transport.wait(lock, seconds)

    def run(self, function: Callable[..., object], *args: Any) -> None:
        self.callbacks.run(function, *args)

    def wakeup(self) -> Wakeup:
        self.transport.before_blocking()
        return self._wakeups.new()

    def future(self, call: Call) -> Future[Any]:
        future = CallFuture(call)
        # In a lane of its own, so that a slow callback does not delay it.
        if not call._at_end(lambda ended: self._aside.submit(future.settle, ended)):
            future.settle(call)
        return future


def rescue(calls: Calls, now: float) -> None:
    """End the calls that are late and in no store, because a signal's handler has raised in the thread that took them.

    It looks only at calls with a callback, for which the process would live for ever.
    """
    calls.rescue_at = now + LOOK
    for call, finished in list(calls.callbacks.owed.items()):
        if finished or now < call.deadline + LOOK or calls.holds(call):
            continue
        if isinstance(call, Gathering) and call._replies:
            calls.finish(call)
        elif call.done():
            calls.ended(call, call._data, call._error)
        else:
            calls.end(call, None, calls.overdue(call))
