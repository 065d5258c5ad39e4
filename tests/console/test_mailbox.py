"""The console's own requests and their replies."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from console.watched import Watched
from mqlight.amqp.message import Message
from mqlight.server.console.mailbox import MOST, Mailbox, Reply
from mqlight.server.publication import read_publication


def ask(world: Watched, mailbox: Mailbox, replies: list[Any]) -> str:
    """Send a request to `t`; its replies are added to a list."""

    def tell(reply: Reply) -> None:
        replies.append({name: msgspec.json.decode(value) for name, value in reply.items()})

    key, data = mailbox.request("t", msgspec.Raw(b'{"n":12345678901234567890}'), 1000, world.now, tell)
    world.broker.publish(read_publication(data, "t"), world.now)
    world.run()
    return key


def test_a_request_is_one_that_services_answer() -> None:
    world = Watched()
    worker = world.client("worker")
    worker.listen("share:s:t")
    mailbox, replies = Mailbox(world.broker, "run"), []
    key = ask(world, mailbox, replies)
    assert worker.bodies == [f'{{"uuid":"{key}","data":{{"n":12345678901234567890}},"replyTo":"response/console-run"}}']
    for _ in range(2):
        worker.send(worker.publisher("response/console-run"), Message(body=f'{{"uuid":"{key}","data":2}}'))
    assert replies == [{"uuid": key, "data": 2}] * 2, "there may be several workers"
    mailbox.forget(key)
    worker.send(worker.publisher("response/console-run"), Message(body=f'{{"uuid":"{key}","data":3}}'))
    assert len(replies) == 2


@pytest.mark.parametrize("body", ["no JSON", "[]", "{}", '{"uuid": 1}', '{"uuid": "unknown"}', b"\x00", None])
def test_what_is_no_reply_is_ignored(body: object) -> None:
    world = Watched()
    mailbox, replies = Mailbox(world.broker, "run"), []
    ask(world, mailbox, replies)
    web = world.client("web")
    web.send(web.publisher(mailbox.topic), Message(body=body))
    assert replies == []
    [destination] = world.broker.destinations.values()
    assert destination.count == 0 and destination.consumers, "and the topic for replies stays"


def test_requests_that_nobody_answers_are_forgotten() -> None:
    world = Watched()
    mailbox = Mailbox(world.broker, "run")
    for _ in range(MOST + 5):
        ask(world, mailbox, [])
    assert len(mailbox._waiting) == MOST
