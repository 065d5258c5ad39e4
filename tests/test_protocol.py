"""docs/protocol.md and docs/envelope.schema.json say what the code does: every frame in them, byte for byte."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from typing import Any

import jsonschema
import msgspec
import pytest

import frames
import macaque
from macaque.control import cancel_topic, decode_control, encode_cancel, encode_end, encode_grant, encode_part
from macaque.envelope import (
    Fault,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_fault,
    encode_reply,
    encode_request,
)
from mqlight.amqp import codec
from mqlight.amqp.message import decode
from mqlight.amqp.values import Described, Uint, Ulong
from processes import ROOT, Server

SCHEMA = json.loads((ROOT / "docs/envelope.schema.json").read_text())


@dataclass(frozen=True)
class Example:
    """A frame of the page: its bytes, and the text under them."""

    data: bytes
    text: str

    @property
    def message(self) -> bytes:
        """The payload of a transfer."""
        return self.data[codec.read(self.data, 8, len(self.data))[1] :]


def examples() -> list[Example]:
    blocks = re.findall(r"^```frame\n(.*?)\n\n(.*?)\n```$", (ROOT / "docs/protocol.md").read_text(), re.M | re.S)
    return [Example(bytes.fromhex(data), " ".join(text.split())) for data, text in blocks]


EXAMPLES = examples()
REQUEST, REPLY, ERROR, LISTEN, LISTENING, CREDIT, SENDER, BARE_REQUEST, TAKEN, BARE_REPLY, BARE_ERROR = EXAMPLES[:11]
_, RELEASED, CANCEL, PART, END, GRANT = EXAMPLES[11:]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.text[:60])
def test_the_text_says_what_is_in_the_frame(example: Example) -> None:
    assert frames.describe_frame(example.data) == example.text


def test_the_page_has_every_step_of_a_call() -> None:
    assert len(EXAMPLES) == 17
    assert RELEASED.text.startswith("disposition(") and "released()" in RELEASED.text


def test_the_envelopes_of_the_page_are_those_that_macaque_sends() -> None:
    request = decode_request(REQUEST.message)
    assert request.expires is not None and request.reply_to is not None
    sent = encode_request(
        request.uuid, "todo/find", {"id": 1}, request.reply_to, now=request.expires / 1000 - 30, timeout=30.0
    )
    assert sent == REQUEST.message
    # The server puts a header of its own before what a client sent.
    assert REPLY.message.endswith(encode_reply(request, {"title": "Buy groceries"}))
    second = msgspec.structs.replace(request, uuid=decode_reply(ERROR.message).uuid)
    assert ERROR.message.endswith(encode_fault(second, Fault(404, "no such task")))


def test_the_messages_of_streams_on_the_page_are_those_that_macaque_sends() -> None:
    part, control = decode_reply(PART.message), "macaque/stream/todo_server/1"
    assert (part.seq, part.more, part.control) == (0, True, control)
    request = Request(part.uuid, None, "response/todo_client")
    assert PART.message == encode_part(request, part.data, 0, control)
    assert END.message == encode_end(request, decode_reply(END.message).seq or 0)
    assert GRANT.message == encode_grant(part.uuid, control, 48, 28.0)
    cancelled = decode_control(CANCEL.message)
    topic = cancel_topic("todo/find")
    assert CANCEL.message == encode_cancel(cancelled.uuid, topic, int(cancelled.expires or 0), 29.5)
    assert cancelled.expires == decode_request(REQUEST.message).expires


def test_the_bare_messages_of_the_page_are_answered_by_those_under_them() -> None:
    request = decode_request(BARE_REQUEST.message)
    assert request.data == {"id": 1}
    assert BARE_REPLY.message.endswith(encode_reply(request, {"title": "Buy groceries"}))
    assert BARE_ERROR.message.endswith(encode_fault(request, Fault(404, "no such task")))


def frame(performative: int, *fields: Any) -> bytes:
    body = codec.encode(Described(Ulong(performative), list(fields)))
    return (len(body) + 8).to_bytes(4, "big") + b"\2\0\0\0" + body


def test_the_bytes_of_the_page_make_a_call(server: Server) -> None:
    """Played to a server as they stand, but for the reply address, which it makes anew with the same length."""

    def read(text: str) -> bytes:
        nonlocal received
        while True:
            for frame in frames.frames(received):
                if text in frames.describe_frame(frame):
                    return frame
            received += connection.recv(65536)

    app = macaque.Server(broker=server.url)
    app.service("todo/find", share_id="todo")(lambda data: {"title": "Buy groceries"} if data == {"id": 1} else None)
    start = b"AMQP\0\1\0\0" + frame(0x10, "somebody") + frame(0x11, None, Uint(0), Uint(1000), Uint(1000))
    with app, socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        received = b""
        connection.sendall(start + LISTEN.data + CREDIT.data + SENDER.data)
        made = re.search(rb"response/[0-9a-f]{32}", read('source(address="response/'))
        old = re.search(rb"response/[0-9a-f]{32}", LISTENING.data)
        assert made and old
        read("link-credit=1000")
        connection.sendall(BARE_REQUEST.data.replace(old[0], made[0]))
        assert read("disposition(") == TAKEN.data
        assert read("transfer(") == BARE_REPLY.data.replace(old[0], made[0])


# The schema


def valid(document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(document))


def body(message: bytes) -> Any:
    return json.loads(decode(message).body)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_what_macaque_sends_is_valid() -> None:
    request = Request("u", None, "response/c", 1.0, 2.0, "c", 0, window=32)
    assert valid(msgspec.to_builtins(request))
    assert valid(body(encode_request("u", "t", {"a": [1, None]}, "response/c", now=1.0, timeout=2.0)))
    assert valid(body(encode_reply(request, None)))
    for fault in (Fault(404, "no"), Fault("gone", "no", "KeyError", {"a": 1}, True, "Traceback ...")):
        assert valid(body(encode_fault(request, fault)))
        assert valid(body(encode_fault(request, fault, 3)))
    assert valid(body(encode_part(request, 1, 0, "macaque/stream/s/1")))
    assert valid(body(encode_end(request, 0)))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"uuid": "u"},
        {"uuid": 1, "data": 1, "replyTo": "r"},
        {"data": 1, "replyTo": "r"},
        {"uuid": "u", "replyTo": "r"},
        {"uuid": "u", "data": 1, "replyTo": 5},
        {"uuid": "u", "data": 1, "replyTo": "r", "expires": "soon"},
        {"uuid": "u", "error": {"code": 404}},
        {"uuid": "u", "error": "no"},
        {"uuid": "u", "error": {"code": 1.5, "message": "no"}},
    ],
)
def test_what_is_no_envelope_is_not_valid(document: Any) -> None:
    assert not valid(document)


@pytest.mark.parametrize("kind", [Request, Reply, Fault])
def test_the_schema_has_the_members_of_the_code(kind: type[msgspec.Struct]) -> None:
    _, components = msgspec.json.schema_components([kind])
    made, written = components[kind.__name__], SCHEMA["$defs"][kind.__name__]
    assert set(made["properties"]) == set(written["properties"])
    # A request with AMQP's reply-to property needs no replyTo; as a document of its own it has one.
    assert set(made["required"]) == set(written["required"]) - {"replyTo"}
    for name, member in made["properties"].items():
        assert types(member) == types(written["properties"][name]), name


def types(member: dict[str, Any]) -> set[str]:
    """The JSON types that a schema allows, or the structs it refers to; none where anything goes."""
    if "anyOf" in member:
        return set().union(*map(types, member["anyOf"]))
    kind = member.get("type", member.get("$ref", []))
    return {kind} if isinstance(kind, str) else set(kind)
