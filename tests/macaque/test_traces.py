from __future__ import annotations

from typing import Any

import msgspec
import pytest

from macaque.envelope import Request, decode_request, encode_notice, encode_request
from macaque.traces import Trace, checked, incoming, outgoing, trace_id
from mqlight.amqp.message import Message, decode, encode

UUID = "179d6f7d-c299-4861-b3a7-000000000001"
HEX = "179d6f7dc2994861b3a7000000000001"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Work:
    outgoing: Trace | None = None

    def __init__(self, message: bytes = b"", parent: Any = None, state: Any = None) -> None:
        self.request = Request(UUID, msgspec.Raw(b"1"), traceparent=parent, tracestate=state)
        self.message = message


def bits(count: int) -> int:
    assert count == 64
    return 0xAB


@pytest.mark.parametrize(
    "parent",
    [
        "", "x", None, 5, PARENT.upper(), PARENT[:-1], PARENT + "-more", "ff" + PARENT[2:], PARENT + "\n",
        f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{PARENT[3:35]}-{'0' * 16}-01", PARENT.replace("a", "g"),
    ],
)  # fmt: skip
def test_an_invalid_traceparent_is_no_trace(parent: Any) -> None:
    assert checked(parent, "a=b") is None


def test_a_traceparent_of_a_later_version_may_be_longer() -> None:
    assert checked("01" + PARENT[2:] + "-more", None) == Trace("01" + PARENT[2:] + "-more")


@pytest.mark.parametrize("state, kept", [("a=b,c=d", "a=b,c=d"), ("", None), ("x" * 513, None), ("ä", None), (5, None)])
def test_a_tracestate_is_passed_on_if_it_can_be_one(state: Any, kept: str | None) -> None:
    assert checked(PARENT, state) == Trace(PARENT, kept)


def test_the_trace_of_the_envelope_comes_before_that_of_the_properties() -> None:
    message = encode(Message(body="", properties={"traceparent": PARENT, "tracestate": "a=b"}))
    assert incoming(Work(message)) == Trace(PARENT, "a=b")
    assert incoming(Work(message, "00-" + "1" * 32 + "-" + "2" * 16 + "-00")) == Trace(f"00-{'1' * 32}-{'2' * 16}-00")
    assert incoming(Work(message, "nonsense")) == Trace(PARENT, "a=b")
    assert incoming(Work(b"traceparent, but no message")) is None


def test_a_request_without_a_trace_begins_one_with_the_id_of_its_uuid() -> None:
    work = Work()
    assert (incoming(work), trace_id(work)) == (None, HEX)
    first = outgoing(work, bits)
    assert first == Trace(f"00-{HEX}-00000000000000ab-00")
    assert outgoing(work, lambda count: 1) is first


def test_the_calls_of_a_request_continue_its_trace() -> None:
    work = Work(parent=PARENT, state="a=b")
    assert trace_id(work) == PARENT[3:35]
    assert outgoing(work, bits) == Trace(f"00-{PARENT[3:35]}-00000000000000ab-01", "a=b")


@pytest.mark.parametrize("data", [1, "x" * 300])
@pytest.mark.parametrize("state", [None, "a=b"])
def test_a_trace_is_in_the_envelope_and_in_the_application_properties(data: Any, state: str | None) -> None:
    trace = Trace(PARENT, state)
    call = encode_request(UUID, "t", data, "r", now=0.0, timeout=5, trace=trace)
    notice = encode_notice(UUID, "t", data, "me", now=0.0, ttl=None, trace=trace)
    for message in (call, notice):
        request = msgspec.json.decode(decode(message).body)
        assert (request["traceparent"], request.get("tracestate")) == (PARENT, state)
        properties = {"traceparent": PARENT} if state is None else {"traceparent": PARENT, "tracestate": state}
        assert decode(message).properties == properties
    found = decode_request(call)
    assert (found.data, found.reply_to, found.traceparent, found.tracestate) == (data, "r", PARENT, state)
    plain = encode_request(UUID, "t", data, "r", now=0.0, timeout=5)
    without = msgspec.structs.replace(decode(call), properties=None, body=decode(plain).body)
    assert without == decode(plain)
