"""The data that an application sends and receives, against the bytes on the wire."""

from __future__ import annotations

import pytest

from mqlight.amqp.message import Message, decode, encode
from mqlight.errors import InvalidArgumentError
from mqlight.payload import MALFORMED, MESSAGE, pack, unpack


@pytest.mark.parametrize(
    ("data", "body", "content_type"),
    [
        ("hello", "hello", "text/plain"),
        ("", "", "text/plain"),
        (b"\x00\xff", b"\x00\xff", "application/octet-stream"),
        (bytearray(b"x"), b"x", "application/octet-stream"),
        (memoryview(b"x"), b"x", "application/octet-stream"),
        ({"word": "fish"}, '{"word":"fish"}', "application/json"),
        ([1, None, True], "[1,null,true]", "application/json"),
        (0, "0", "application/json"),
    ],
)
def test_data_is_sent_as_mq_light_sends_it(data, body, content_type):
    message = decode(pack("t/x", data, 5000))
    assert (message.body, message.content_type, message.to, message.ttl) == (body, content_type, "t/x", 5000)


@pytest.mark.parametrize("data", ["hello", "", {"word": "fish", "n": [1, 2.5, None]}, [], 7, "日本"])
def test_what_was_sent_is_what_arrives(data):
    assert unpack(pack("t", data, None)) == (MESSAGE, data, "t", None, None)


def test_bytes_arrive_as_a_bytearray():
    received = unpack(pack("t", b"\x01\x02", None))
    assert received.data == bytearray(b"\x01\x02")
    assert type(received.data) is bytearray


@pytest.mark.parametrize("topic", ["/a", "a b#c?d@e:f", "amqp://x/y", "amqp:///z", "日本/#"])
def test_every_topic_arrives_as_it_was_given(topic):
    assert unpack(pack(topic, "x", None)).topic == topic


def test_the_service_that_other_clients_put_before_the_topic_is_taken_off():
    assert unpack(encode(Message(body="x", to="amqp://host:5672/t/x"))).topic == "t/x"


def test_values_of_other_amqp_senders_arrive_as_they_are():
    assert unpack(encode(Message(body=42))).data == 42
    assert unpack(encode(Message(body={"a": 1}))).data == {"a": 1}
    assert unpack(encode(Message(body=b"[1]", content_type="application/json"))).data == [1]
    assert unpack(encode(Message(body=None))).data == ""


def test_json_that_is_none_arrives_as_malformed_with_its_text():
    received = unpack(encode(Message(body="{oops", content_type="application/json")))
    assert received.kind == MALFORMED
    assert received.data == "{oops"
    assert received.malformed is not None
    assert received.malformed["condition"] == "PAYLOADENCODING"


def test_what_the_server_says_about_a_message_it_could_not_convert_is_passed_on():
    annotations = {
        "x-opt-message-malformed-condition": "FORMATNOMAPPING",
        "x-opt-message-malformed-description": "no mapping for format X",
        "x-opt-message-malformed-MQMD.CodedCharSetId": 1208,
        "x-opt-message-malformed-MQMD.Format": "X",
    }
    received = unpack(encode(Message(body=b"raw", delivery_annotations=annotations)))
    assert received.kind == MALFORMED
    assert received.data == bytearray(b"raw")
    assert received.malformed == {
        "condition": "FORMATNOMAPPING",
        "description": "no mapping for format X",
        "MQMD": {"CodedCharSetId": 1208, "Format": "X"},
    }


def test_a_value_that_json_cannot_carry_is_a_type_error_that_names_its_type():
    with pytest.raises(TypeError, match="data of type object cannot be sent as JSON"):
        pack("t", object(), None)


@pytest.mark.parametrize("data", ["\ud800", {"text": "\ud800"}])
def test_text_that_utf_8_cannot_carry_is_refused(data):
    with pytest.raises(InvalidArgumentError, match="the data cannot be sent"):
        pack("t", data, None)


def test_bytes_that_are_no_message_are_a_value_error():
    with pytest.raises(ValueError):
        unpack(b"\x00\x53\x77")
