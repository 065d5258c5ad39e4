"""A broker inside of the process: a message goes from `publish` to the subscriptions without a socket.

The rules of this file:

* Each subscription is a destination of its own, because the process has one server for each share.
* Messages move in the thread that publishes or settles, under the lock of the broker. Functions of services run in
  lanes, on the threads of the broker.
* Nothing outlives the process. A server that stops leaves no message silently.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import monotonic, time
from typing import Any

from macaque.http.destination import Destination, Message
from mqlight.amqp.topics import PatternMap
from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import State
from mqlight.errors import NetworkError, StoppedError
from mqlight.log import Log
from mqlight.net.clock import Clock
from mqlight.net.crew import Crew, Lane
from mqlight.net.process import end_process
from mqlight.outgoing import OnOutcome

__all__ = ["LocalBroker", "LocalTransport"]

log = Log(__name__, BaseException)


class LocalBroker:
    """The destinations, the threads and the clock that the transports of a process have in common."""

    def __init__(self) -> None:
        self._make()

    def _make(self) -> None:
        self.lock = threading.RLock()
        self.settled = threading.Condition(self.lock)
        """Told when a message was settled or begun."""
        self.crew = Crew("macaque-local", lambda epoch: None, daemon=True, on_exit=end_process)
        self.clock = Clock(self.crew, lambda now: None)
        self._destinations: set[Destination] = set()
        self._patterns: PatternMap[Destination] = PatternMap()

    def start(self) -> None:
        """Start the clock. Raises NetworkError: the process cannot start a thread."""
        try:
            self.clock.start("macaque-local-clock", daemon=True)
            if not self.crew.run(lambda: None):  # its thread stays, for `run_soon`
                raise RuntimeError("the system has none for it")
        except RuntimeError as error:
            self.clock.stop()
            raise NetworkError(f"no thread can be started: {error}") from error

    def stop(self) -> None:
        """End the threads, when their functions have returned."""
        self.clock.stop()
        self.crew.stop()

    def _after_fork(self) -> None:
        """Begin without transports in the child of a fork, which has none of the threads."""
        self._make()

    def drain(self, timeout: float) -> None:
        """Wait `timeout` seconds at most until every message that waits is given out."""
        with self.lock:
            self.settled.wait_for(lambda: not any(each.waiting for each in self._destinations), timeout)

    def add(self, destination: Destination) -> None:
        self._destinations.add(destination)
        self._patterns.add(destination.pattern, destination)

    def remove(self, destination: Destination) -> None:
        self._destinations.discard(destination)
        self._patterns.remove(destination.pattern, destination)

    def publish(self, topic: str, data: bytes, mandatory: bool, on_outcome: OnOutcome | None) -> None:
        """Put a message to the destinations whose pattern matches its topic. The first outcome is told."""
        with self.lock:
            found = self._patterns.find(topic)
            if not found and on_outcome is not None:
                on_outcome(Outcome.RELEASED if mandatory else Outcome.ACCEPTED, None)
            told = _once(on_outcome) if len(found) > 1 else on_outcome
            for destination in found:
                destination.put(Message(data, told))


def _once(on_outcome: OnOutcome | None) -> OnOutcome:
    untold = [on_outcome]

    def told(outcome: Outcome, condition: Condition | None) -> None:
        if untold and (tell := untold.pop()) is not None:
            tell(outcome, condition)

    return told


class LocalTransport:
    """A connection to a broker inside of the process: see `macaque.transport.Transport`."""

    error = url = dialect = peer = None
    now = staticmethod(monotonic)
    wall = staticmethod(time)

    def __init__(
        self,
        broker: LocalBroker,
        addresses: object,
        client_id: str,
        *,
        on_state: Callable[[State, Exception | None], None] | None = None,
    ) -> None:
        self.client_id = client_id
        self.state = State.STOPPED
        self._broker = broker
        self._told_state = on_state
        self._destinations: list[Destination] = []
        self._unconfirmed: list[Callable[[Exception | None], None]] = []

    def start(self) -> None:
        with self._broker.lock:
            if self.state is State.STOPPED:
                self._set_state(State.STARTED)
                waiting, self._unconfirmed = self._unconfirmed, []
                for told in waiting:
                    told(None)

    def wait_started(self, timeout: float) -> None:
        if self.state is not State.STARTED:
            raise StoppedError("the client was stopped")

    def pause(self) -> None:
        with self._broker.lock:
            for each in self._destinations:
                each.paused = True

    def stop(self, timeout: float = 10.0) -> None:
        """Wait `timeout` seconds at most for the messages that are given out, and end the subscriptions."""
        broker, own = self._broker, self._destinations
        with broker.lock:
            if self.state is not State.STARTED:
                return
            self.pause()
            self._set_state(State.STOPPING)
            if not broker.settled.wait_for(lambda: not any(each.held for each in own), timeout):
                left = sum(each.held for each in own)
                log.warning("%s stops with %d unfinished messages, which are lost", self.client_id, left)
            for each in own:
                each.close()
            own.clear()
            self._set_state(State.STOPPED)

    def _set_state(self, state: State) -> None:
        self.state = state
        if self._told_state is not None:
            self._told_state(state, None)

    def run_soon(self, task: Callable[[], object]) -> None:
        self._broker.crew.tell(task)

    def every(self, call: Callable[[float], float | None]) -> None:
        self._broker.clock.every(call)

    def wake(self, at: float) -> None:
        self._broker.clock.wake(at)

    def lane(self, width: int) -> Lane:
        return Lane(self._broker.crew, width)

    def before_blocking(self) -> None:
        """Do nothing: no thread of the broker waits for another one."""

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        return lock.acquire(timeout=seconds)

    def batch(self) -> AbstractContextManager[None]:
        return nullcontext()

    def publish(
        self,
        topic: str,
        message: bytes,
        *,
        mandatory: bool = False,
        on_outcome: OnOutcome | None = None,
        timeout: float | None = None,
    ) -> bool:
        if self.state is State.STOPPED:
            raise StoppedError("the client is stopped, so it cannot send")
        self._broker.publish(topic, message, mandatory, on_outcome)
        return True

    def subscribe(
        self,
        pattern: str,
        share: str | None = None,
        *,
        ttl: int = 0,
        credit: int = 1024,
        max_deliveries: int = 0,
        marks: object = None,
        lane: Any = None,
        on_delivery: Callable[[Any], object],
        on_subscribed: Callable[[Exception | None], None] | None = None,
    ) -> Any:
        broker = self._broker
        with broker.lock:
            destination = Destination(broker, pattern, credit, lane, on_delivery, max_deliveries)
            self._destinations.append(destination)
            broker.add(destination)
            if on_subscribed is None:
                pass
            elif self.state is State.STOPPED:
                self._unconfirmed.append(on_subscribed)
            else:
                on_subscribed(None)
        return destination

    def unsubscribe(
        self,
        subscription: Any,
        *,
        forget: bool,
        on_unsubscribed: Callable[[Exception | None], None] | None = None,
    ) -> None:
        with self._broker.lock:
            subscription.close()
            if subscription in self._destinations:
                self._destinations.remove(subscription)
            if on_unsubscribed is not None:
                on_unsubscribed(None)

    def add_credit(self, subscription: Any, messages: int) -> None:
        with self._broker.lock:
            subscription.credit += messages
            subscription.go_on()
