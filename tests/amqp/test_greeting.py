"""Headers and the client's half of SASL (sections 2.2 and 5.3)."""

from __future__ import annotations

import pytest

from mqlight.amqp.codec import Array, Ubyte
from mqlight.amqp.frames import AMQP_HEADER, SASL_HEADER, SASL_MECHANISMS, SASL_OUTCOME, PeerError, frame, performative
from mqlight.amqp.greeting import Greeting
from mqlight.amqp.sasl import SaslClient


def mechanisms(*names: str) -> bytes:
    return frame(0, performative(SASL_MECHANISMS, [Array("symbol", names)]), 1)


def outcome(code: int) -> bytes:
    return frame(0, performative(SASL_OUTCOME, [Ubyte(code)]), 1)


def client(user: str | None = None, password: str | None = None, external: bool = False) -> Greeting:
    return Greeting(False, SaslClient(user, password, external, "host"))


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_client_logs_in_however_the_bytes_are_cut(step: int) -> None:
    greeting, seen = client("ann", "secret"), b""
    data = SASL_HEADER + mechanisms("PLAIN", "ANONYMOUS") + outcome(0) + AMQP_HEADER + b"frames"
    for at in range(0, len(data), step):
        seen += data[at : at + step]
        seen = seen[greeting.take(seen) :]
    assert greeting.done and greeting.ready and seen == b"frames"
    assert greeting.out.startswith(SASL_HEADER) and b"\0ann\0secret" in greeting.out


@pytest.mark.parametrize("data", [outcome(0), mechanisms("ANONYMOUS") * 2, b"\0\0\0\1\2\1\0\0", b"\0\1\0\0\2\1\0\0"])
def test_a_frame_that_is_not_due_or_no_frame_is_the_servers_fault(data: bytes) -> None:
    with pytest.raises(PeerError):
        client().take(SASL_HEADER + data)


def test_a_header_that_is_not_due_is_the_peers_fault() -> None:
    greeting = client()
    greeting.take(AMQP_HEADER)
    assert greeting.failed and greeting.refused is not None and "SASL header" in greeting.refused.description
