"""Traffic to look at: a small shop inside the server, with customers, workers and mishaps. Pure: the console drives it.

All topics begin with ``demo/`` and all clients with ``demo-``. The demo uses the broker as clients do: its requests and
replies are those of docs/protocol.md, and its calls inside calls carry a trace.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mqlight.amqp.message import Message, MessageError, decode, encode
from mqlight.amqp.types import Condition, Outcome
from mqlight.server.broker import Broker
from mqlight.server.destination import Consumer, DestinationName, Owner
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.publication import read_publication
from mqlight.server.queued import Queued

if TYPE_CHECKING:
    from random import Random

LONGEST = 600.0
"""Seconds after which the demo ends by itself."""
FISH = ("carp", "eel", "salmon", "trout", "shark")
"""The fish that are ordered. No worker sells sharks."""

Step = Callable[[float], None]
T = TypeVar("T")


class Actor:
    """A client of the demo, without a connection. It has what the console shows of a client."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.address = "in this server"
        self.user = User(None, EVERYTHING)
        self.properties: dict[str, object] = {"product": "demo"}
        self.served: dict[Any, Any] = {}
        self.messages_sent = self.unsent = 0
        self.clogged = False


class Order(msgspec.Struct):
    """The data of all requests of the demo."""

    fish: str
    pieces: int


class Request(msgspec.Struct, rename={"reply_to": "replyTo"}):
    """A request that a worker has: the envelope of docs/protocol.md."""

    uuid: str
    data: Order
    reply_to: str = ""
    trace: str = ""


class Reply(msgspec.Struct):
    """A reply to a request of the demo: its data, or its error."""

    data: Any = None
    error: Any = None


class Demo:
    """The shop."""

    def __init__(self, broker: Broker, random: Random) -> None:
        self.clients: list[Actor] = []
        """The clients, while the demo runs."""
        self._broker = broker
        self._random = random
        self._number = count(1)
        self._steps: list[tuple[float, int, Step]] = []
        """A heap of what happens next: the time, a number and the step."""
        self._members: list[tuple[Consumer, dict[int, Queued]]] = []
        self._awaited: dict[str, Callable[[float, Reply], None]] = {}
        self._ends_at = 0.0

    @property
    def running(self) -> bool:
        return bool(self.clients)

    def start(self, now: float) -> None:
        """Open the shop. If it is open, it stays open for longer."""
        self._ends_at = now + LONGEST
        if self.running:
            return
        customers = [self._actor(f"demo-web-{i}", now) for i in (1, 2)]
        for i in (1, 2):
            shop = self._actor(f"demo-shop-{i}", now)
            self._serve(shop, "demo/order", "demo-shop", 2, 0.15, self._order, now)
        for name, part in (("demo-stock", self._stock), ("demo-price", self._price)):
            self._serve(self._actor(name, now), name.replace("-", "/"), name, 5, 0.06, part, now)
        self._serve(self._actor("demo-mailer", now), "demo/mail", None, 5, 0.1, self._mail, now)
        self._serve(self._actor("demo-printer", now), "demo/report", "demo-printers", 0, 0.1, self._mail, now)
        for i, customer in enumerate(customers):
            self._later(now, 0.2 + 0.6 * i, lambda at, who=customer: self._shop(who, at))  # type: ignore[misc]
        self._later(now, 1.0, lambda at: self._report(customers[0], at))

    def tick(self, now: float) -> None:
        """Do the steps that are due. Call this about ten times a second."""
        if self.running and now >= self._ends_at:
            self.stop(now)
        while self._steps and self._steps[0][0] <= now:
            heappop(self._steps)[2](now)

    def stop(self, now: float) -> None:
        """Close the shop. Its destinations and their messages end."""
        members, self._members, self.clients = self._members, [], []
        self._steps.clear()
        self._awaited.clear()
        for consumer, _ in members:
            consumer.credit = 0
        for consumer, held in members:
            self._broker.unsubscribe(consumer, list(held.values()), now, forget=True)

    # The parts of the shop

    def _shop(self, customer: Actor, now: float) -> None:
        """Order a fish, sometimes at the wrong topic, and mail a receipt."""
        topic = "demo/ordre" if self._random.random() < 0.08 else "demo/order"
        order = Order(self._random.choice(FISH), self._random.randint(1, 9))
        trace = f"{self._random.getrandbits(128) | 1:032x}"
        self._call(customer, topic, order, trace, now, lambda at, _: self._receipt(customer, order, at))
        self._later(now, self._random.uniform(0.6, 1.8), lambda at: self._shop(customer, at))

    def _receipt(self, customer: Actor, order: Order, now: float) -> None:
        """Mail a receipt, sometimes one that the mailer rejects."""
        if self._random.random() < 0.2:
            broken = self._random.random() < 0.3
            mail = "{no JSON" if broken else {"uuid": f"demo-{next(self._number)}", "data": order}
            self._send(customer, "demo/mail", mail, now)

    def _report(self, customer: Actor, now: float) -> None:
        """Send a report that expires: the printer is out of paper, and gives no credit."""
        self._send(customer, "demo/report", "the fish of today", now, ttl=8000)
        self._later(now, 6.0, lambda at: self._report(customer, at))

    def _order(self, shop: Actor, request: Request, now: float, end: Callable[..., None]) -> None:
        """Reserve the fish, ask for its price, and answer: two calls inside a call."""

        def priced(at: float, price: Reply) -> None:
            if price.error is not None:
                end(at, error=price.error)
            else:
                end(at, {"accepted": request.data.fish, "price": price.data})

        def reserved(at: float, _: Reply) -> None:
            self._call(shop, "demo/price", request.data, request.trace, at, priced)

        self._call(shop, "demo/stock", request.data, request.trace, now, reserved)

    def _stock(self, stock: Actor, request: Request, now: float, end: Callable[..., None]) -> None:
        end(now, {"reserved": request.data.pieces})

    def _price(self, price: Actor, request: Request, now: float, end: Callable[..., None]) -> None:
        if request.data.fish == "shark":
            end(now, error={"code": 404, "message": "there is no price for shark"})
        else:
            end(now, 4 * request.data.pieces)

    def _mail(self, mailer: Actor, request: Request, now: float, end: Callable[..., None]) -> None:
        end(now)

    # Clients of the broker

    def _later(self, now: float, seconds: float, step: Step) -> None:
        heappush(self._steps, (now + seconds, next(self._number), step))

    def _actor(self, name: str, now: float) -> Actor:
        """Return a new client that receives replies."""
        actor = Actor(name)
        self.clients.append(actor)
        self._subscribe(actor, DestinationName(f"response/{name}", None, name), 20, 0.0, self._answered, now)
        return actor

    def _subscribe(
        self, actor: Actor, name: DestinationName, credit: int, takes: float, use: Callable[..., None], now: float
    ) -> None:
        """Receive messages. ``use(message, consumer, now)`` settles each, ``takes`` seconds after it came."""
        held: dict[int, Queued] = {}

        def deliver(message: Queued, at: float) -> None:
            held[message.sequence] = message
            seconds = takes * self._random.uniform(0.6, 2.0)
            self._later(at, seconds, lambda later: use(message, consumer, held, later))

        owner = Owner(None, actor.client_id)
        consumer = self._broker.subscribe(name, 0.0, deliver, at_most_once=False, owner=owner)
        consumer.client, consumer.held = actor, held.values
        self._members.append((consumer, held))
        self._broker.give_credit(consumer, credit, now)

    def _settle(
        self, consumer: Consumer, held: dict[int, Queued], message: Queued, outcome: Outcome, now: float
    ) -> None:
        if held.pop(message.sequence, None) is not None:
            self._broker.settle(consumer, message, outcome, now)
            self._broker.give_credit(consumer, consumer.credit + 1, now)

    def _serve(
        self, actor: Actor, topic: str, share: str | None, credit: int, takes: float, work: Callable[..., None],
        now: float,
    ) -> None:  # fmt: skip
        """Answer requests. ``work(actor, request, now, end)`` calls ``end`` once, with the reply or an error."""

        def use(message: Queued, consumer: Consumer, held: dict[int, Queued], now: float) -> None:
            request = _request(message)

            def end(at: float, data: Any = None, error: Any = None) -> None:
                if request is not None and request.reply_to:
                    reply = {"uuid": request.uuid, **({"error": error} if error else {"data": data})}
                    self._send(actor, request.reply_to, reply, at, key=request.uuid)
                self._settle(consumer, held, message, Outcome.ACCEPTED, at)

            if request is not None:
                work(actor, request, now, end)
                return
            self._settle(consumer, held, message, Outcome.REJECTED, now)
            if message.trace is not None:
                message.trace.rejected(Condition("amqp:decode-error", "this is no request of the demo"))

        name = DestinationName(topic, share, None if share else actor.client_id)
        self._subscribe(actor, name, credit, takes, use, now)

    def _answered(self, message: Queued, consumer: Consumer, held: dict[int, Queued], now: float) -> None:
        """Take a reply."""
        self._settle(consumer, held, message, Outcome.ACCEPTED, now)
        found = _read(message, Reply)
        then = None if found is None else self._awaited.pop(str(found[1].correlation_id), None)
        if found is not None and then is not None:
            then(now, found[0])

    def _call(
        self, actor: Actor, topic: str, data: Any, trace: str, now: float, then: Callable[[float, Reply], None]
    ) -> None:
        key = f"demo-{next(self._number)}"
        self._awaited[key] = then
        request = {"uuid": key, "data": data, "replyTo": f"response/{actor.client_id}"}
        if not self._send(actor, topic, request, now, trace=trace, ttl=30_000):
            del self._awaited[key]

    def _send(
        self, actor: Actor, topic: str, body: Any, now: float, *, key: str | None = None, trace: str = "",
        ttl: int | None = None,
    ) -> bool:  # fmt: skip
        """Send a message. Return whether it was accepted."""
        text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
        headers = {"traceparent": f"00-{trace}-{self._random.getrandbits(64) | 1:016x}-01"} if trace else None
        message = Message(
            body=text, to=topic, ttl=ttl, correlation_id=key, properties=headers, content_type="application/json"
        )
        data = encode(message)
        actor.messages_sent += 1
        outcome, condition = self._broker.publish(read_publication(data, topic), now, None, actor)
        accepted = outcome is Outcome.ACCEPTED
        if not accepted and outcome is not None and self._broker.observer is not None:
            self._broker.observer.refused(actor, topic, data, outcome, condition, now)
        return accepted


def _request(message: Queued) -> Request | None:
    """Return the request in a message; None if it is none of the demo."""
    found = _read(message, Request)
    if found is None:
        return None
    request, whole = found
    request.trace = str((whole.properties or {}).get("traceparent", ""))[3:35]
    return request


def _read(message: Queued, kind: type[T]) -> tuple[T, Message] | None:
    """Return the body of a message and the whole message; None if the body is of another kind. Strangers send too."""
    try:
        whole = decode(message.rest)
        return msgspec.json.decode(whole.body, type=kind), whole
    except (MessageError, msgspec.DecodeError, TypeError):
        return None
