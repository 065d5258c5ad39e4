from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from macaque.envelope import (
    BadReply,
    BadRequest,
    BareRequest,
    Fault,
    Request,
    decode_reply,
    decode_request,
    encode_fault,
    encode_reply,
    encode_request,
)
from mqlight.amqp.codec import Symbol
from mqlight.amqp.message import Message, decode, encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def request(data: Any = None, **more: Any) -> bytes:
    """The bytes of a request as the first macaque sent it."""
    return encode(Message(body=json.dumps({"uuid": "u-1", "data": data, "replyTo": "response/me", **more}), to="t"))


# Requests


def test_a_request_has_the_members_and_properties_of_the_contract() -> None:
    message = decode(encode_request("u-1", "todo/tasks", {"task_id": 1}, "response/me", now=1000.0, timeout=30.0))
    assert json.loads(message.body) == {
        "uuid": "u-1",
        "data": {"task_id": 1},
        "replyTo": "response/me",
        "expires": 1_030_000,
    }
    assert isinstance(message.body, str)
    assert (message.to, message.reply_to, message.message_id) == ("todo/tasks", "response/me", "u-1")
    assert (message.content_type, message.ttl) == ("text/plain", 30_000)


def test_the_ttl_of_a_request_is_never_zero_which_would_mean_no_limit() -> None:
    assert decode(encode_request("u", "t", None, "r", now=0.0, timeout=0.0001)).ttl == 1


@given(JSON)
def test_data_comes_out_as_it_went_in(data: Any) -> None:
    got = decode_request(encode_request("u-1", "t", data, "response/me", now=1.0, timeout=1.0))
    assert (got.uuid, got.data, got.reply_to, got.expires) == ("u-1", data, "response/me", 2000.0)


def test_a_request_of_the_first_macaque_is_understood() -> None:
    got = decode_request(request({"word": "one"}))
    assert (got.uuid, got.data, got.reply_to, got.expires) == ("u-1", {"word": "one"}, "response/me", None)


def test_members_that_are_not_known_are_skipped() -> None:
    got = decode_request(request(5, traceparent="00-1-2-3", sentAt=12, source="me", seq=1))
    assert (got.data, got.sent_at, got.source) == (5, 12, "me")


def test_a_request_without_reply_to_wants_no_answer() -> None:
    got = decode_request(encode(Message(body='{"uuid": "u", "data": [1]}', to="t")))
    assert (got.data, got.reply_to) == ([1], None)


@pytest.mark.parametrize(
    "value", [object(), {"a": lambda: 0}, {(1, 2): 3}, "\ud800"], ids=["object", "function", "key", "surrogate"]
)
def test_data_that_json_has_no_place_for_is_a_type_error_that_names_it(value: object) -> None:
    with pytest.raises(TypeError, match="^The data .* cannot be sent as JSON: "):
        encode_request("u", "t", value, "r", now=0.0, timeout=1.0)


def test_the_type_error_names_the_value_inside_the_data() -> None:
    with pytest.raises(TypeError, match="3j is of type complex, which JSON cannot represent"):
        encode_request("u", "t", {"deep": [1, {"in": 3j}]}, "r", now=0.0, timeout=1.0)


def test_data_that_holds_itself_is_a_type_error() -> None:
    data: list[Any] = []
    data.append(data)
    with pytest.raises(TypeError, match="cannot be sent as JSON"):
        encode_request("u", "t", data, "r", now=0.0, timeout=1.0)


# Requests of clients that know only AMQP 1.0


@pytest.mark.parametrize(
    "body, data",
    [
        ('{"word": "one"}', {"word": "one"}),
        (b'{"word": "one"}', {"word": "one"}),
        ("one", "one"),
        (Symbol("one"), "one"),
        (Symbol('{"word": "one"}'), {"word": "one"}),
        (b"\xff\x00", b"\xff\x00"),
        ({"word": "one"}, {"word": "one"}),
        ([1, 2], [1, 2]),
        (None, None),
        (7, 7),
    ],
)
def test_bare_data_with_a_reply_to_property_is_a_request(body: object, data: object) -> None:
    got = decode_request(encode(Message(body=body, to="t", reply_to="answers", message_id="m-1")))
    assert isinstance(got, BareRequest)
    assert (got.data, got.reply_to, got.correlation) == (data, "answers", "m-1")


def test_the_correlation_id_goes_before_the_message_id() -> None:
    got = decode_request(encode(Message(body="x", reply_to="answers", message_id="m-1", correlation_id=7)))
    assert isinstance(got, BareRequest)
    assert got.correlation == 7


def test_bare_data_that_looks_like_an_envelope_but_says_the_address_in_the_property_only_is_bare() -> None:
    got = decode_request(encode(Message(body='{"uuid": "u", "data": 1}', reply_to="answers")))
    assert isinstance(got, BareRequest)
    assert got.data == {"uuid": "u", "data": 1}


@pytest.mark.parametrize("correlation", ["c", b"\x01", 12, UUID(int=5), None])
def test_the_reply_to_a_bare_request_is_the_bare_data_with_its_correlation_id(correlation: Any) -> None:
    asked = decode_request(encode(Message(body="{}", reply_to="answers", correlation_id=correlation)))
    message = decode(encode_reply(asked, {"word": "ONE"}))
    assert json.loads(message.body) == {"word": "ONE"}
    assert (message.to, message.correlation_id, message.properties) == ("answers", correlation, None)
    assert message.content_type == "application/json"


def test_an_error_for_a_bare_request_says_so_in_its_application_properties() -> None:
    asked = decode_request(encode(Message(body="{}", reply_to="answers", message_id="m-1")))
    message = decode(encode_fault(asked, Fault(404, "no such task", details=[7])))
    assert message.properties == {
        "error-code": 404,
        "error-message": "no such task",
        "error_code": 404,
        "error_message": "no such task",
    }
    assert json.loads(message.body) == {"code": 404, "message": "no such task", "details": [7]}
    assert message.correlation_id == "m-1"


# What is no request


@pytest.mark.parametrize(
    "message, wrong",
    [
        (b"", "no AMQP message"),
        (b"{}", "no AMQP message"),
        (encode(Message(body="one")), "neither JSON with 'uuid', 'data' and 'replyTo'"),
        (encode(Message(body='{"data": 1, "replyTo": "r"}')), "`uuid`"),
        (encode(Message(body='{"uuid": 5, "data": 1, "replyTo": "r"}')), "`str`"),
        (encode(Message(body='{"uuid": "u", "replyTo": "r"}')), "`data`"),
        (encode(Message(body={"uuid": "u"})), "its body is not text"),
        (encode(Message(body="[" * 100_000)), "neither JSON"),
    ],
)
def test_what_is_no_request_is_refused_with_a_sentence(message: bytes, wrong: str) -> None:
    with pytest.raises(BadRequest, match=wrong):
        decode_request(message)


def test_a_request_that_is_nested_too_deeply_is_not_taken_for_text() -> None:
    deep = '{"uuid": "u", "replyTo": "answers", "data": ' + "[" * 200_000 + "]" * 200_000 + "}"
    with pytest.raises(BadRequest, match="cannot be decoded") as refused:
        decode_request(encode(Message(body=deep, reply_to="answers", message_id="u")))
    assert refused.value.asked is not None and refused.value.asked.reply_to == "answers"


@given(st.binary(max_size=200))
def test_no_bytes_bring_out_anything_but_a_request_or_a_bad_request(message: bytes) -> None:
    try:
        decode_request(message)
    except BadRequest:
        pass


@settings(max_examples=300)
@given(st.data())
def test_no_damage_to_a_request_brings_out_anything_but_a_bad_request(data: st.DataObject) -> None:
    message = bytearray(request({"word": "one"}, expires=5))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_request(bytes(message))
    except BadRequest:
        pass


@given(
    st.one_of(JSON.map(json.dumps), st.text(st.characters(codec="utf-8")), st.binary(), JSON),
    st.none() | st.text(st.characters(codec="utf-8"), min_size=1),
)
def test_any_body_with_a_reply_to_property_is_a_request(body: Any, reply_to: str | None) -> None:
    try:
        message = encode(Message(body=body, reply_to=reply_to))
    except ValueError:
        return  # AMQP has no integers of that size
    try:
        got = decode_request(message)
    except BadRequest:
        assert reply_to is None
    else:
        assert got.reply_to == reply_to or not isinstance(got, BareRequest)


# Replies


@given(JSON)
def test_a_result_comes_back_as_it_was_returned(data: Any) -> None:
    got = decode_reply(encode_reply(Request("u-1", None, "response/me"), data))
    assert (got.uuid, got.data, got.error) == ("u-1", data, None)


def test_a_reply_has_the_members_and_properties_of_the_contract() -> None:
    message = decode(encode_reply(Request("u-1", None, "response/me"), {"word": "ONE"}))
    assert json.loads(message.body) == {"uuid": "u-1", "data": {"word": "ONE"}}
    assert (message.to, message.correlation_id, message.content_type) == ("response/me", "u-1", "text/plain")


def test_a_result_of_none_is_sent_as_null() -> None:
    assert json.loads(decode(encode_reply(Request("u", 1, "r"), None)).body) == {"uuid": "u", "data": None}


def test_an_error_comes_back_with_all_that_it_says() -> None:
    fault = Fault(404, "no such task", "LookupError", {"task": 7}, True, "Traceback ...")
    got = decode_reply(encode_fault(Request("u-1", None, "response/me"), fault))
    assert got.uuid == "u-1"
    assert got.error is not None
    error = got.error.exception()
    assert (error.code, error.message, error.type, error.details, error.retryable, error.traceback) == (
        404, "no such task", "LookupError", {"task": 7}, True, "Traceback ...",
    )  # fmt: skip


def test_an_error_has_no_members_that_say_nothing() -> None:
    body = json.loads(decode(encode_fault(Request("u", 1, "r"), Fault(404, "no"))).body)
    assert body == {"uuid": "u", "error": {"code": 404, "message": "no"}}


def test_a_reply_of_the_first_macaque_is_understood() -> None:
    got = decode_reply(encode(Message(body='{"uuid": "u-1", "data": {"tasks": []}}', to="response/me")))
    assert (got.uuid, got.data, got.error) == ("u-1", {"tasks": []}, None)


def test_a_result_that_json_has_no_place_for_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="^The result .* cannot be sent as JSON: "):
        encode_reply(Request("u", None, "r"), object())


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"uuid": 1}', '{"uuid": "u", "error": "bad"}', None, 5, b"\xff", ["u"]]
)
def test_what_is_no_reply_is_refused(body: object) -> None:
    with pytest.raises(BadReply):
        decode_reply(encode(Message(body=body)))


@given(st.binary(max_size=200))
def test_no_bytes_bring_out_anything_but_a_reply_or_a_bad_reply(message: bytes) -> None:
    try:
        decode_reply(message)
    except BadReply:
        pass
