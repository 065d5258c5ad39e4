"""The content of a message, shown to people."""

from __future__ import annotations

import pytest

from mqlight.amqp.message import Message, encode
from mqlight.server.console.content import read


def test_one_large_message_is_cut_and_says_so() -> None:
    content = read(encode(Message(body="x" * 1_000_000, to="t")))
    assert content.cut and len(content.text) == 65536


@pytest.mark.parametrize(
    ("message", "role", "key"),
    [
        (Message(body='{"uuid": "u1", "data": {"a": 1}, "replyTo": "response/c"}'), "request", "u1"),
        (Message(body='{"uuid": "u1", "data": 2}', correlation_id="u1"), "reply", "u1"),
        (Message(body='{"uuid": "u1", "error": {"code": 404, "message": "no"}}', correlation_id="u1"), "error", "u1"),
        (Message(body="1", reply_to="response/c", correlation_id=7), "request", "7"),
        (Message(body="1", correlation_id=7), "reply", "7"),
        (Message(body="{}", correlation_id=7, properties={"error-code": 500}), "error", "7"),
        (Message(body="hello"), "", ""),
    ],
)
def test_requests_and_replies_are_told_from_other_messages(message: Message, role: str, key: str) -> None:
    content = read(encode(message))
    assert (content.role, content.key) == (role, key)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("plain", "text", "plain"),
        ('{"n": 12345678901234567890}', "json", '{"n": 12345678901234567890}'),
        ("{not json", "text", "{not json"),
        (b"\x00\xff", "binary", "00 ff"),
        (b"text", "text", "text"),
        ([1, "two"], "value", "[1, 'two']"),
    ],
)
def test_bodies_are_shown_as_they_are(body: object, kind: str, text: str) -> None:
    content = read(encode(Message(body=body, to="t")))
    assert (content.kind, content.text) == (kind, text)


def test_what_is_no_message_is_called_unreadable() -> None:
    assert read(b"\x00\x53").kind == "unreadable"


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("body", "properties", "trace"),
    [
        (f'{{"uuid": "u1", "data": 1, "traceparent": "00-{TRACE}-00f067aa0ba902b7-01"}}', {}, TRACE),
        ("text", {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
        ("text", {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}, ""),
        ("text", {"traceparent": "nonsense"}, ""),
        ('{"traceparent": 1}', {}, ""),
    ],
)
def test_the_trace_is_in_the_envelope_or_in_the_application_properties(
    body: str, properties: dict[str, object], trace: str
) -> None:
    content = read(encode(Message(body=body, properties=properties)))
    assert content.trace == trace and bool(content.span) == bool(trace)


def test_a_request_without_a_trace_begins_one() -> None:
    body = f'{{"uuid": "{TRACE}", "data": 1, "replyTo": "response/c"}}'
    content = read(encode(Message(body=body)))
    assert (content.trace, content.trace_id) == ("", TRACE)
    assert read(encode(Message(body="no request"))).trace_id == ""
