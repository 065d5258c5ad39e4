"""Requests to a broker about its queues, over a pair of links (HTTP over AMQP, as RabbitMQ speaks it).

A request has the method as its subject and the path as its address; its answer has the status as its subject, and the
request's number as its correlation id. Steps that depend on each other are a generator that is told each answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle
from mqlight.wire.dialect import AddressError, Answer, Request, Steps
from mqlight.wire.message import Message, MessageError, decode, encode

LINK = "management"
CREDIT = 100
"""Answers that may be on their way."""

Done = Callable[["Condition | None"], None]
"""Told how steps ended: None, or what was refused."""


class Management:
    """The context of its two links. When they are gone it is of no use any more, and tells nobody."""

    def __init__(self, engine: Engine, address: str) -> None:
        self.granted = self.held = 0  # counted by the session, as for any link that it receives on
        self._engine = engine
        self._ready = False
        """There is credit for answers, without which RabbitMQ ends the session over a request."""
        self._number = 0
        self._unsent: deque[bytes] = deque()
        self._waiting: dict[int, tuple[Steps, Done]] = {}
        self._requests, self._answers = engine.attach_pair(LINK, address)
        self._requests.context = self._answers.context = self

    def run(self, steps: Steps, done: Done) -> None:
        """Make the requests of ``steps``, one after the other, and tell ``done`` at the end, once."""
        self._go_on(steps, done, None)

    def _go_on(self, steps: Steps, done: Done, answer: Answer | None) -> None:
        try:
            request = next(steps) if answer is None else steps.send(answer)
        except StopIteration:
            done(None)
        except AddressError as error:
            done(error.condition)
        else:
            self._number += 1
            self._waiting[self._number] = steps, done
            self._unsent.append(_encoded(request, self._number))
            self.on_credit()

    def on_attach(self, link: Link) -> None:
        """The broker has answered the attach of one of the links."""
        if link is self._answers:
            link.flow(CREDIT)
            self._ready = True
            self.on_credit()

    def on_credit(self) -> None:
        """There may be credit for requests that wait."""
        while self._ready and self._unsent and self._requests.credit > 0:
            self._requests.send(self._unsent.popleft(), settled=True)

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        """An answer."""
        link.flow(1)
        try:
            message = decode(data)
            status = int(message.subject or "")
        except (MessageError, ValueError):
            return
        number = message.correlation_id
        if isinstance(number, int) and number in self._waiting:
            steps, done = self._waiting.pop(number)
            self._go_on(steps, done, Answer(status, message.body))


def _encoded(request: Request, number: int) -> bytes:
    return encode(
        Message(body=request.body, subject=request.method, to=request.path, reply_to="$me", message_id=number)
    )
