"""The client's half of SASL (section 5.3)."""

from __future__ import annotations

from typing import Any

import pytest

from mqlight.amqp.codec import Array, Symbol, Ubyte
from mqlight.amqp.frames import (
    SASL_HEADER,
    SASL_INIT,
    SASL_MECHANISMS,
    SASL_OUTCOME,
    Fields,
    GarbledError,
    frame,
    performative,
)
from mqlight.amqp.greeting import Greeting
from mqlight.amqp.sasl import SaslClient


def mechanisms(*names: str) -> bytes:
    return frame(0, performative(SASL_MECHANISMS, [Array("symbol", names)]), 1)


def outcome(code: int) -> bytes:
    return frame(0, performative(SASL_OUTCOME, [Ubyte(code)]), 1)


def client(user: str | None = None, password: str | None = None, external: bool = False) -> Greeting:
    return Greeting(False, SaslClient(user, password, external, "host"))


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


def exchange(*, user: str | None = None, password: str | None = None, external: bool = False) -> SaslClient:
    return SaslClient(user, password, external, "host")


def offer(*names: str) -> Fields:
    return Fields(SASL_MECHANISMS, [Array("symbol", names)])


@pytest.mark.parametrize(
    ("sasl", "mechanism", "response"),
    [
        (exchange(user="änn", password="sécret"), "PLAIN", "\0änn\0sécret".encode()),
        (exchange(user="ann"), "PLAIN", b"\0ann\0"),
        (exchange(external=True), "EXTERNAL", b""),
        (exchange(), "ANONYMOUS", b"anonymous"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_answer_has_mechanism_response_and_host(sasl: SaslClient, mechanism: str, response: bytes) -> None:
    """Section 5.3.3.2."""
    data = sasl.receive(offer("ANONYMOUS", "PLAIN", "EXTERNAL"))
    assert data == frame(0, performative(SASL_INIT, [Symbol(mechanism), response, "host"]), 1)
    assert not sasl.done and sasl.refused is None


def test_a_login_is_done_when_the_server_says_so() -> None:
    sasl = exchange()
    sasl.receive(offer("ANONYMOUS"))
    assert sasl.receive(Fields(SASL_OUTCOME, [Ubyte(0)])) == b"" and sasl.done and sasl.refused is None


def test_a_server_that_offers_nothing_is_a_refusal_without_an_answer() -> None:
    sasl = exchange(external=True)
    assert sasl.receive(offer()) == b""
    assert sasl.refused is not None and "EXTERNAL or ANONYMOUS" in sasl.refused.description


@pytest.mark.parametrize("fields", [Fields(SASL_OUTCOME, [Ubyte(0)]), Fields(SASL_INIT, []), Fields(0x10, ["id"])])
def test_a_frame_before_its_time_is_garbled(fields: Fields) -> None:
    with pytest.raises(GarbledError):
        exchange().receive(fields)


def test_mechanisms_are_offered_once() -> None:
    sasl = exchange()
    sasl.receive(offer("ANONYMOUS"))
    with pytest.raises(GarbledError):
        sasl.receive(offer("PLAIN"))
