"""Headers and the client's half of SASL (sections 2.2 and 5.3)."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize(
    ("options", "offered", "chosen"),
    [
        ({}, ("PLAIN", "ANONYMOUS"), b"ANONYMOUS"),
        ({"external": True}, ("ANONYMOUS", "EXTERNAL"), b"EXTERNAL"),
        ({"external": True}, ("ANONYMOUS",), b"ANONYMOUS"),
        ({"user": "a"}, ("ANONYMOUS", "PLAIN"), b"PLAIN"),
    ],
)
def test_the_mechanism_follows_from_what_the_client_has(
    options: dict[str, Any], offered: tuple[str, ...], chosen: bytes
) -> None:
    greeting = client(**options)
    greeting.take(SASL_HEADER + mechanisms(*offered))
    assert chosen in greeting.out


def test_a_server_without_the_mechanism_is_a_refusal_that_names_both() -> None:
    greeting = client("ann", "secret")
    greeting.take(SASL_HEADER + mechanisms("SCRAM-SHA-256"))
    assert greeting.refused is not None and greeting.refused.name == "amqp:unauthorized-access"
    assert "SCRAM-SHA-256" in greeting.refused.description and "PLAIN" in greeting.refused.description
    assert "secret" not in greeting.refused.description


@pytest.mark.parametrize(
    ("code", "name"), [(1, "amqp:unauthorized-access"), (2, "amqp:internal-error"), (4, "amqp:internal-error")]
)
def test_a_refused_login_is_told_from_a_server_that_cannot_check_it(code: int, name: str) -> None:
    greeting = client()
    greeting.take(SASL_HEADER + mechanisms("ANONYMOUS") + outcome(code))
    assert greeting.refused is not None and greeting.refused.name == name
    assert not greeting.failed


@pytest.mark.parametrize("data", [outcome(0), mechanisms("ANONYMOUS") * 2, b"\0\0\0\1\2\1\0\0", b"\0\1\0\0\2\1\0\0"])
def test_a_frame_that_is_not_due_or_no_frame_is_the_servers_fault(data: bytes) -> None:
    with pytest.raises(PeerError):
        client().take(SASL_HEADER + data)


def test_a_header_that_is_not_due_is_the_peers_fault() -> None:
    greeting = client()
    greeting.take(AMQP_HEADER)
    assert greeting.failed and greeting.refused is not None and "SASL header" in greeting.refused.description
