"""The server half of SASL, with the bytes that IBM's clients send."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqp.pair import End
from mqlight.amqp.frames import AMQP_HEADER, SASL_HEADER
from mqlight.amqp.types import Condition
from mqlight.server.sasl import MOST, Identity, SaslServer, farewell

MECHANISMS = bytes.fromhex("00000028 02010000 005340 c01b 01 e018 02 b3") + b"\0\0\0\x09ANONYMOUS\0\0\0\x05PLAIN"
WELCOME = bytes.fromhex("00000010 02010000 005344 c003 01 5000")
REFUSAL = bytes.fromhex("00000010 02010000 005344 c003 01 5001")
OPEN = bytes.fromhex("0000001102000000 005310 c00401a10163")

NODE = bytes.fromhex("0000001d02010000005341c01003a309414e4f4e594d4f5553a0010040")
MESSENGER = bytes.fromhex("0000002a02010000005341d00000001a00000002a309414e4f4e594d4f5553a009616e6f6e796d6f7573")
JAVA = bytes.fromhex("0000001902010000005341c00c01a309414e4f4e594d4f5553")
ANONYMOUS = [NODE, MESSENGER, JAVA]


def init(mechanism: bytes, response: bytes) -> bytes:
    """A sasl-init frame."""
    fields = b"\xa3" + bytes([len(mechanism)]) + mechanism + b"\xa0" + bytes([len(response)]) + response
    body = b"\x00\x53\x41\xc0" + bytes([len(fields) + 1]) + b"\x02" + fields
    return (8 + len(body)).to_bytes(4, "big") + b"\x02\x01\x00\x00" + body


def everybody(identity: Identity) -> bool:
    return True


def exchange(data: bytes, step: int = 1 << 20, check: object = everybody) -> tuple[SaslServer, bytes]:
    """Return the server's answer to ``data`` that comes in pieces of ``step`` bytes."""
    sasl, answer = SaslServer(check), b""  # type: ignore[arg-type]
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        if sasl.finished:
            sasl.rest += piece  # its owner gives it to the engine
        else:
            answer += sasl.receive(piece)
    return sasl, answer


@pytest.mark.parametrize("frame", ANONYMOUS, ids=["Node", "Messenger", "Java"])
@pytest.mark.parametrize("step", [1, 8, 1 << 20], ids=["byte by byte", "header first", "in one packet"])
def test_an_anonymous_client_comes_in(frame: bytes, step: int) -> None:
    sasl, answer = exchange(SASL_HEADER + frame, step)
    assert answer == SASL_HEADER + MECHANISMS + WELCOME
    assert sasl.finished and sasl.identity == Identity("ANONYMOUS")
    assert sasl.rest == b"" and sasl.failed is None


def test_the_header_alone_is_answered_with_header_and_mechanisms() -> None:
    sasl, answer = exchange(SASL_HEADER)
    assert answer == SASL_HEADER + MECHANISMS
    assert not sasl.finished and sasl.failed is None


@pytest.mark.parametrize("frame", ANONYMOUS, ids=["Node", "Messenger", "Java"])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_what_comes_after_the_exchange_is_kept_for_the_engine(frame: bytes, step: int) -> None:
    sasl, answer = exchange(SASL_HEADER + frame + AMQP_HEADER + OPEN, step)
    assert answer == SASL_HEADER + MECHANISMS + WELCOME
    assert sasl.rest == AMQP_HEADER + OPEN


@pytest.mark.parametrize("response", [b"\0ann\0pa:ss", b"ann\0ann\0pa:ss"], ids=["Node and Java", "Messenger"])
def test_a_client_with_user_and_password_comes_in(response: bytes) -> None:
    asked: list[Identity] = []
    sasl, answer = exchange(SASL_HEADER + init(b"PLAIN", response), check=lambda who: not asked.append(who))
    assert answer.endswith(WELCOME)
    assert asked == [sasl.identity] == [Identity("PLAIN", "ann", "pa:ss")]


def test_user_and_password_may_be_any_text() -> None:
    sasl, _ = exchange(SASL_HEADER + init(b"PLAIN", "\0ü\0pässwörd".encode()))
    assert sasl.identity == Identity("PLAIN", "ü", "pässwörd")


def test_who_is_refused_is_told_so() -> None:
    sasl, answer = exchange(SASL_HEADER + init(b"PLAIN", b"\0ann\0wrong"), check=lambda who: False)
    assert answer == SASL_HEADER + MECHANISMS + REFUSAL
    assert not sasl.finished and sasl.failed == "PLAIN was refused for user 'ann'"
    assert sasl.receive(SASL_HEADER + NODE) == b""
    assert not sasl.finished


@pytest.mark.parametrize("verdict", [True, False, "a reason"])
def test_a_verdict_may_come_later_and_nothing_is_lost_meanwhile(verdict: bool | str) -> None:
    sasl = SaslServer(lambda who: None)
    answer = sasl.receive(SASL_HEADER + init(b"PLAIN", b"\0ann\0pass") + AMQP_HEADER)
    assert answer == SASL_HEADER + MECHANISMS
    assert sasl.pending and not sasl.finished and not sasl.failed
    assert sasl.receive(OPEN) == b"" and sasl.pending
    assert sasl.decide(verdict) == (WELCOME if verdict is True else REFUSAL)
    assert not sasl.pending
    if verdict is True:
        assert sasl.finished and sasl.identity == Identity("PLAIN", "ann", "pass")
        assert sasl.rest == AMQP_HEADER + OPEN
    else:
        assert sasl.failed == "PLAIN was refused for user 'ann'" + (f": {verdict}" if verdict else "")
        assert sasl.identity is None


def test_a_client_without_room_is_told_so_and_not_that_its_login_failed() -> None:
    client = End(server=False, container_id="c")
    client.engine.open()
    for _ in range(3):
        client.sent(len(client.output()))
    condition = Condition("amqp:resource-limit-exceeded", "the server is full")
    client.receive(farewell(condition))
    assert client.all("close") == [[condition]] and client.all("open") == []


def test_the_reason_for_a_client_without_room_fits_into_a_frame_that_every_client_takes() -> None:
    close = farewell(Condition("amqp:resource-limit-exceeded", "x" * 1000)).partition(AMQP_HEADER)[2]
    assert int.from_bytes(close[:4], "big") == len(close) <= 512


def test_the_password_is_in_no_text() -> None:
    sasl, _ = exchange(SASL_HEADER + init(b"PLAIN", b"\0ann\0secret"), check=lambda who: False)
    assert "secret" not in f"{sasl.failed} {sasl.identity} {Identity('PLAIN', 'ann', 'secret')!r}"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (init(b"SCRAM-SHA-256", b"x"), "SCRAM-SHA-256"),
        (init(b"PLAIN", b"ann"), "PLAIN response"),
        (init(b"PLAIN", b"\0ann\0a\0b"), "PLAIN response"),
        (init(b"PLAIN", b"bob\0ann\0pass"), "another user"),
        (init(b"PLAIN", b"\0\xff\xfe\0pass"), "malformed"),
        (NODE.replace(b"\x53\x41", b"\x53\x42"), "not a sasl-init"),
        (bytes.fromhex("0000000d02010000 005341 45") + b"\x00", "malformed"),
        (bytes.fromhex("0000000c02010000 005341 45"), "no mechanism"),
        (OPEN, "malformed"),
        (bytes.fromhex("0000000702010000"), "malformed"),
        (bytes.fromhex("ffffffff02010000"), "malformed"),
        (bytes.fromhex("0000000801010000"), "malformed"),
        (bytes.fromhex("00000008ff010000"), "malformed"),
    ],
)
def test_a_login_that_makes_no_sense_is_refused_with_the_reason(frame: bytes, reason: str) -> None:
    sasl, answer = exchange(SASL_HEADER + frame)
    assert answer == SASL_HEADER + MECHANISMS + REFUSAL
    assert sasl.failed is not None and reason in sasl.failed
    assert not sasl.finished and sasl.identity is None


def test_only_what_is_offered_is_taken() -> None:
    sasl = SaslServer(everybody, ("PLAIN",))
    assert b"ANONYMOUS" not in sasl.receive(SASL_HEADER)
    assert sasl.receive(NODE) == REFUSAL


@pytest.mark.parametrize("step", [1, 8, 1 << 20])
def test_a_client_without_sasl_is_an_anonymous_one(step: int) -> None:
    sasl, answer = exchange(AMQP_HEADER + OPEN, step)
    assert answer == b""
    assert sasl.finished and sasl.identity == Identity("ANONYMOUS")
    assert sasl.rest == AMQP_HEADER + OPEN


def test_a_client_without_sasl_is_refused_where_anonymous_ones_are() -> None:
    sasl, answer = exchange(AMQP_HEADER + OPEN, check=lambda who: who.mechanism == "PLAIN")
    assert (answer, sasl.finished) == (SASL_HEADER, False)  # section 2.2
    assert sasl.failed == "ANONYMOUS was refused"


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"AMQP\x00\x00\x09\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"x"]
)
def test_what_is_not_amqp_is_told_what_we_speak(data: bytes) -> None:
    sasl, answer = exchange(data)
    assert answer == SASL_HEADER
    assert sasl.failed is not None and repr(data[:8]) in sasl.failed


def test_half_a_header_is_waited_for() -> None:
    sasl, answer = exchange(b"AMQP")
    assert (answer, sasl.finished, sasl.failed) == (b"", False, None)


hostile = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda data: SASL_HEADER + data),
    st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=4)).map(
        lambda fault: SASL_HEADER + MESSENGER[: fault[0]] + fault[1] + MESSENGER[fault[0] + len(fault[1]) :]
    ),
    st.binary(max_size=250).map(lambda data: SASL_HEADER + init(b"PLAIN", data)),
)


@given(hostile, st.sampled_from([1, 5, 1 << 20]))
@settings(max_examples=200, deadline=None)
def test_hostile_bytes_are_an_answer_and_never_an_exception(data: bytes, step: int) -> None:
    sasl, answer = exchange(data, step)
    assert len(answer) <= len(SASL_HEADER + MECHANISMS + WELCOME)
    assert not (sasl.finished and sasl.failed)
    assert sasl.finished == (sasl.identity is not None)


@pytest.mark.parametrize(
    "begin",
    [SASL_HEADER, SASL_HEADER + MOST.to_bytes(4, "big") + b"\x02\x01\x00\x00", b"HTTP", b""],
    ids=["frames without sense", "the largest frame", "something else", "nothing"],
)
def test_no_client_makes_us_keep_much(begin: bytes) -> None:
    sasl = SaslServer(everybody)
    sasl.receive(begin)
    piece = bytes(1000)
    tracemalloc.start()
    try:
        for _ in range(1000):
            sasl.receive(piece)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20_000
    assert sasl.failed
