from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from macaque.dead_letter import DeadLetter, counted, decode_dead_letter, encode_dead_letter, request_topic, revive
from macaque.envelope import BadRequest, decode_request, encode_notice, encode_request
from mqlight.amqp.message import Message, decode, delivery_count, encode

REQUEST = encode_request("u-1", "tasks/7", {"n": 1}, "response/me", now=1000.0, timeout=5.0)


def letter(**more: Any) -> DeadLetter:
    about = {
        "id": "1f", "endpoint": "tasks/+", "share": "w", "topic": "tasks/7", "reason": "KeyError: 'x'", "count": 5,
        "time": 1_700_000_000_000, "source": "response/me", "server": "macaque_1", "message": REQUEST,
    }  # fmt: skip
    return DeadLetter(**{**about, **more})


def test_a_letter_comes_back_as_it_was_sent() -> None:
    assert decode_dead_letter(encode_dead_letter(letter())) == letter()
    assert decode_dead_letter(encode_dead_letter(letter(share=None, source=None))) == letter(share=None, source=None)


def test_a_letter_goes_to_the_topic_of_its_endpoint_and_says_what_it_is_about_to_everybody() -> None:
    message = decode(encode_dead_letter(letter()))
    assert (message.to, message.message_id, message.body) == ("macaque/dead/tasks/+", "1f", REQUEST)
    assert message.properties is not None
    assert {**message.properties} == {
        "endpoint": "tasks/+", "share": "w", "topic": "tasks/7", "reason": "KeyError: 'x'", "count": 5,
        "time": 1_700_000_000_000, "source": "response/me", "server": "macaque_1",
    }  # fmt: skip


def test_a_long_reason_is_cut() -> None:
    assert len(decode_dead_letter(encode_dead_letter(letter(reason="x" * 5000))).reason) == 1000


def test_a_letter_has_the_data_of_its_request() -> None:
    assert letter().data == {"n": 1}
    assert letter(message=b"").data is None


@pytest.mark.parametrize(
    "foreign",
    [b"", b"\x00Sx", encode(Message(body="hello", to="macaque/dead/tasks")), encode(Message(body=b"x", message_id=""))],
)
def test_what_is_no_letter_still_has_an_id_of_its_own(foreign: bytes) -> None:
    read = decode_dead_letter(foreign)
    assert len(read.id) == 12 and "not a dead letter" in read.reason
    assert decode_dead_letter(foreign).id == read.id
    assert read.data is None
    with pytest.raises(BadRequest):
        revive(read)


def test_a_revived_request_is_new_and_asks_for_no_reply() -> None:
    tried = decode(REQUEST)
    message = encode(msgspec.structs.replace(tried, delivery_count=5))
    assert delivery_count(message) == 5
    again = revive(letter(message=message))
    request = decode_request(again)
    assert (request.uuid, request.data, request.reply_to, request.expires) == ("u-1", {"n": 1}, None, None)
    assert (decode(again).to, decode(again).ttl, delivery_count(again)) == ("tasks/7", None, 0)


def test_a_revived_request_keeps_the_members_that_nobody_knows_as_they_are() -> None:
    body = '{"uuid": "u", "data": 12345678901234567890123, "trace": {"a": [1.50]}, "expires": 7}'
    again = decode(revive(letter(message=encode(Message(body=body, to="t", properties={"mine": 1})))))
    assert again.body == '{"uuid":"u","data":12345678901234567890123,"trace":{"a": [1.50]}}'
    assert again.properties == {"mine": 1}


def test_a_revived_notice_keeps_its_source() -> None:
    message = encode_notice("u", "t", [1], "client_7", now=1.0, ttl=5.0)
    assert decode(message).ttl == 5000
    assert json.loads(decode(revive(letter(message=message))).body) == {"uuid": "u", "data": [1], "source": "client_7"}


def test_a_revived_bare_request_stays_one() -> None:
    message = encode(Message(body='{"word": "one"}', to="t", reply_to="answers", message_id="m", ttl=5))
    request = decode_request(revive(letter(message=message)))
    assert (request.data, request.reply_to, request.uuid) == ({"word": "one"}, "answers", "m")


def test_the_topic_of_a_request_is_where_it_was_sent_to() -> None:
    assert request_topic(REQUEST, "tasks/+") == "tasks/7"
    assert request_topic(encode(Message(body="x")), "tasks/+") == "tasks/+"
    assert request_topic(b"", "tasks/+") == "tasks/+"


def test_one_attempt_is_singular() -> None:
    assert [counted(number, "attempt") for number in (0, 1, 2)] == ["0 attempts", "1 attempt", "2 attempts"]
