"""Send requests about queues to a broker, over a pair of links (RabbitMQ's HTTP over AMQP).

A request's subject is the method, and its address is the path. An answer's subject is the status, and its correlation
id is the request's number. Steps that depend on each other are a generator that gets each answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.message import Message, MessageError, decode, encode
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.dialects.base import AddressError, Answer, Request, Steps

LINK = "management"
CREDIT = 100
"""The most answers that may be on their way."""

Done = Callable[["Condition | None"], None]
"""A function that gets the end of the steps: None, or the error of the refused request."""


class Management:
    """The management of one connection, and the handler of its two links.

    When the links are gone it cannot be used any more, and it calls no ``done``. It then calls ``on_lost`` once with
    the reason.
    """

    def __init__(self, engine: Engine, address: str, on_lost: Callable[[Condition], None]) -> None:
        self._on_lost: Callable[[Condition], None] | None = on_lost
        self._ready = False
        """Whether credit for answers is granted. RabbitMQ ends the session on a request without it."""
        self._number = 0
        self._unsent: deque[bytes] = deque()
        self._waiting: dict[int, tuple[Steps, Done]] = {}
        self._requests, self._answers = engine.attach_pair(LINK, address)
        self._requests.handler = self._answers.handler = self

    def run(self, steps: Steps, done: Done) -> None:
        """Send the requests of ``steps`` one after the other, and call ``done`` once at the end."""
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
            self._send()

    def on_attach(self, link: Link) -> None:
        """Grant credit for answers when the broker has answered the attach of their link."""
        if link is self._answers:
            link.flow(CREDIT)
            self._ready = True
            self._send()

    def _send(self) -> None:
        """Send waiting requests for which there is credit."""
        while self._ready and self._unsent and self._requests.credit > 0:
            self._requests.send(self._unsent.popleft(), settled=True)

    # Events from the broker (LinkHandler)

    def on_credit(self, link: Link) -> None:
        self._send()

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        """Take an answer, and go on with the steps that wait for it."""
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

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost(condition or Condition("amqp:internal-error", "the server ended its management link"))

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        """Do nothing: requests are sent settled."""

    def on_received(self, link: Link, token: Any) -> None:
        """Do nothing: requests are sent settled."""


def _encoded(request: Request, number: int) -> bytes:
    return encode(
        Message(body=request.body, subject=request.method, to=request.path, reply_to="$me", message_id=number)
    )
