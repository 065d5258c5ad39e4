"""A broker in this thread's memory, and transports to it: nothing waits, and the time is set by hand."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time
from typing import Any

import msgspec

from macaque.transport import Transport
from mqlight.amqp.message import decode, encode
from mqlight.amqp.topics import matches
from mqlight.amqp.types import Condition, Outcome
from mqlight.connection import State
from mqlight.delivery import Delivery, hand_over


class Network:
    """The broker. `connect` makes a transport to it, as `Client._connect` and `Server._connect` do."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.tasks: deque[Callable[[], object]] = deque()
        self.subscriptions: list[Subscription] = []
        self.transports: list[Memory] = []
        self.outcome: tuple[Outcome, Condition | None] | None = None
        """The outcome of every message that is sent, where it is not what its subscriptions say."""

    def connect(self, addresses: object, client_id: str, **told: Any) -> Transport:
        self.transports.append(Memory(self, **told))
        return self.transports[-1]

    def run(self) -> None:
        """Do everything that there is to do now."""
        while self.tasks:
            self.tasks.popleft()()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in steps, as the clocks of the transports want it."""
        end = self.time + seconds
        while self.time < end:
            self.run()
            self.time = min(end, self.time + 0.25)
            for transport in self.transports:
                for call in list(transport.clocked):
                    call(self.time)
        self.run()

    def send(self, topic: str, message: bytes, on_outcome: Callable[..., object] | None) -> None:
        takers = [each for each in self.subscriptions if matches(each.pattern, topic)]
        for each in takers:
            each.waiting.append(message)
            self.tasks.append(each.deliver)
        outcome = self.outcome or (Outcome.ACCEPTED if takers else Outcome.RELEASED, None)
        if on_outcome is not None:
            self.tasks.append(lambda: on_outcome(*outcome))


class Link:
    closed = False


class Subscription:
    def __init__(self, transport: Memory, pattern: str, credit: int, lane: Any, on_delivery: Any) -> None:
        self.pattern = pattern
        self.credit = credit
        self.held = 0
        self.settled: list[Outcome | None] = []
        self.waiting: deque[bytes] = deque()
        self.marks_granted = None
        self.ready = True
        self._transport = transport
        self._lane = lane
        self._on_delivery = on_delivery

    def deliver(self) -> None:
        while self.waiting and self.held < self.credit:
            self.held += 1
            transport, subscription, link, message = self._transport, self, Link(), self.waiting.popleft()
            delivery = Delivery(transport, subscription, link, 0, message, False)  # type: ignore[arg-type]
            delivery.arrived = self._transport.now()
            if self._lane is None:
                hand_over(delivery, self._on_delivery)
            else:
                self._lane.submit(hand_over, delivery, self._on_delivery)


class Memory:
    """A transport. It is one lane as well, for all: functions run in the order of their submission."""

    error = url = dialect = peer = None

    def __init__(self, network: Network, on_state: Callable[..., object] | None = None) -> None:
        self.state = State.STOPPED
        self.clocked: list[Callable[[float], object]] = []
        self._network = network
        self._on_state = on_state

    def start(self) -> None:
        self.state = State.STARTED
        if self._on_state is not None:
            self._on_state(State.STARTED, None)

    def stop(self, timeout: float = 0.0) -> None:
        self.state = State.STOPPED

    def wait_started(self, timeout: float) -> None:
        assert self.state is State.STARTED

    def pause(self) -> None: ...

    def run_soon(self, task: Callable[[], object]) -> None:
        self._network.tasks.append(task)

    def now(self) -> float:
        return self._network.time

    wall = staticmethod(time)

    def every(self, call: Callable[[float], object]) -> None:
        self.clocked.append(call)

    def wake(self, at: float) -> None: ...

    def lane(self, width: int) -> Memory:
        return self

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        self._network.tasks.append(lambda: function(*args))

    def before_blocking(self) -> None:
        self._network.run()

    def wait(self, lock: threading.Lock, seconds: float) -> bool:
        self._network.run()
        return lock.acquire(timeout=seconds)

    @contextmanager
    def batch(self) -> Iterator[None]:
        yield

    def publish(self, topic: str, message: bytes, *, on_outcome: Any = None, **_: Any) -> bool:
        self._network.send(topic, message, on_outcome)
        return True

    def subscribe(
        self, pattern: str, share: str | None = None, *, on_delivery: Any, credit: int = 0, lane: Any = None,
        on_subscribed: Any = None, **_: Any,
    ) -> Subscription:  # fmt: skip
        subscription = Subscription(self, pattern, credit, lane, on_delivery)
        self._network.subscriptions.append(subscription)
        if on_subscribed is not None:
            self._network.tasks.append(lambda: on_subscribed(None))
        return subscription

    def unsubscribe(self, subscription: Any, *, forget: bool, on_unsubscribed: Any = None) -> None:
        self._network.subscriptions.remove(subscription)
        if on_unsubscribed is not None:
            self._network.tasks.append(lambda: on_unsubscribed(None))

    def add_credit(self, subscription: Any, messages: int) -> None:
        subscription.credit += messages
        self._network.tasks.append(subscription.deliver)

    def settle(self, delivery: Any, outcome: Outcome | None, condition: Condition | None) -> bool:
        subscription = delivery.subscription
        subscription.held -= 1
        subscription.settled.append(outcome)
        if outcome in (Outcome.MODIFIED, Outcome.RELEASED):
            message = decode(delivery.message)
            count = message.delivery_count + (outcome is Outcome.MODIFIED)
            subscription.waiting.append(encode(msgspec.structs.replace(message, delivery_count=count)))
        self._network.tasks.append(subscription.deliver)
        return True

    def begin(self, delivery: Any) -> None: ...
