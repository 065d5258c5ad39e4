from __future__ import annotations

import json

from macaque.dead_letter import DeadLetter, dead_topic, encode_dead_letter
from macaque.envelope import Request, encode_notice, encode_reply, encode_request
from macaque.published import Published, published
from mqlight.amqp.codec import Ulong
from mqlight.amqp.message import Message, encode


def test_a_request_and_its_reply_are_seen_by_their_data_and_their_uuid() -> None:
    request = encode_request("u-1", "work", {"n": 1}, "response/me", now=0.0, timeout=5.0)
    assert published("work", request) == Published("work", {"n": 1}, None, "u-1", "response/me")
    reply = encode_reply(Request("u-1", None, "response/me"), [1])  # type: ignore[arg-type]
    assert published("response/me", reply) == Published("response/me", [1], None, "u-1")


def test_a_one_way_message_is_seen_with_its_sender() -> None:
    notice = encode_notice("u-2", "work", "x", "macaque_1", now=0.0, ttl=None)
    assert published("work", notice) == Published("work", "x", None, "u-2", "macaque_1")


def test_an_error_is_seen_as_an_error() -> None:
    body = json.dumps({"uuid": "u-3", "error": {"code": 404, "message": "no"}})
    seen = published("response/me", encode(Message(body=body)))
    assert seen.data is None and seen.error == {"code": 404, "message": "no"}


def test_a_dead_letter_is_seen_as_its_request() -> None:
    request = encode_request("u-1", "work", {"n": 1}, "response/me", now=0.0, timeout=5.0)
    letter = DeadLetter(
        id="a", endpoint="work", topic="work", reason="no", count=5, time=0, source="response/me", message=request
    )
    seen = published(dead_topic("work"), encode_dead_letter(letter))
    assert (seen.data, seen.source) == ({"n": 1}, "response/me")


def test_the_message_of_another_program_is_seen_by_its_body() -> None:
    assert published("t", encode(Message(body="text", reply_to="back"))).data == "text"
    assert published("t", encode(Message(body='"text"', content_type="application/json"))).data == "text"
    assert published("t", encode(Message(body={"a": Ulong(1)}))).data == {"a": 1}
    assert published("t", b"no message").data == b"no message"
