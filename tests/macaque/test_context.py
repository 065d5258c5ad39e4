from __future__ import annotations

from typing import Any

import msgspec
import pytest

import macaque
from macaque.context import Request, current
from macaque.envelope import Request as Envelope
from mqlight.amqp.message import Message, encode


class Home:
    topic = "shop/+/paid"
    share = "billing"
    about_to_wait = None

    def __init__(self) -> None:
        self.time = 100.0

    def clock(self) -> float:
        return self.time

    def topic_of(self, to: str) -> str:
        return to.removeprefix("amqp://")


class Work:
    def __init__(self, envelope: Envelope, message: bytes = b"", deadline: float | None = None) -> None:
        self.home: Any = Home()
        self.request = envelope
        self.count = 0
        self.deadline = deadline
        self.message = message


def test_a_request_tells_what_its_message_says() -> None:
    envelope = Envelope("u-1", msgspec.Raw(b'{"n":1}'), None, None, 1500, "ann")
    message = encode(Message(body="", to="amqp://shop/7/paid", properties={"tenant": "acme"}))
    request = Request(Work(envelope, message))
    assert (request.uuid, request.data, request.source, request.sent_at) == ("u-1", {"n": 1}, "ann", 1.5)
    assert (request.topic, request.share, request.attempt) == ("shop/7/paid", "billing", 1)
    assert request.properties == {"tenant": "acme"}
    assert repr(request) == "<macaque.Request u-1 to 'shop/7/paid'>"


@pytest.mark.parametrize("message", [encode(Message(body="")), b"\x00"])
def test_without_a_topic_in_the_message_the_topic_is_that_of_the_service(message: bytes) -> None:
    request = Request(Work(Envelope("u-1", msgspec.Raw(b"1")), message))
    assert (request.topic, request.properties) == ("shop/+/paid", {})


@pytest.mark.parametrize(
    "reply_to, source, told", [("response/ann", None, "ann"), ("elsewhere", None, "elsewhere"), (None, None, None)]
)
def test_the_source_is_the_client_to_which_the_reply_goes(
    reply_to: str | None, source: str | None, told: str | None
) -> None:
    request = Request(Work(Envelope("u-1", msgspec.Raw(b"1"), reply_to, source=source)))
    assert (request.source, request.sent_at) == (told, None)


def test_the_time_that_remains_ends_at_the_deadline() -> None:
    work = Work(Envelope("u-1", msgspec.Raw(b"1")), deadline=102.5)
    request = Request(work)
    assert (request.deadline, request.remaining()) == (102.5, 2.5)
    work.home.time = 200.0
    assert request.remaining() == 0.0
    assert Request(Work(Envelope("u-1", msgspec.Raw(b"1")))).remaining() is None


def test_the_current_request_exists_only_in_a_service() -> None:
    with pytest.raises(RuntimeError, match="only while a service works on a request"):
        _ = macaque.request.uuid
    assert repr(macaque.request) == "<macaque.request>"
    token = current.set(Work(Envelope("u-1", msgspec.Raw(b"1"))))
    try:
        assert macaque.request.uuid == "u-1"
        assert repr(macaque.request) == "<macaque.Request u-1 to 'shop/+/paid'>"
    finally:
        current.reset(token)
