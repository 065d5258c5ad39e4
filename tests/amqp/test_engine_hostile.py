"""The engine against what no honest peer would send: the connection ends, and nothing else does."""

from __future__ import annotations

import gc
import tracemalloc
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqp.pair import End, Pair, pump
from amqp.raw import RawPeer, attach, frames_of, lacks, performative
from mqlight.amqp import Condition, Link, Outcome, Terminus
from mqlight.amqp.codec import Described, Uint, Ulong, Ushort
from mqlight.amqp.frames import AMQP_HEADER, frame

DENIED = Condition("amqp:not-allowed", "not for you")


@cache
def recording() -> tuple[bytes, bytes]:
    """The AMQP of both ends of a connection on which nearly everything happens: the client's, the server's."""
    sent = {False: b"", True: b""}

    class Recorded(End):
        def sent(self, size: int) -> None:
            sent[self.server] += self.output()[:size]
            super().sent(size)

    client = Recorded(server=False, container_id="clé", hostname="höst", properties={"k": "v"}, offered=["A", "B"])
    server = Recorded(server=True, properties={"product": "p"}, offered=["ANONYMOUS-RELAY"], max_message_size=1000)
    client.engine.open()
    pump(client, server)
    sender = client.engine.attach_sender("s", Terminus("tøpic", timeout=5, capabilities=("x", "y")))
    receiver = client.engine.attach_receiver("private:t", Terminus("private:tü", timeout=60), at_most_once=False)
    receiver.flow(10)
    pump(client, server)
    for size in (5, 150):
        sender.send(bytes(size), size)
    source = next(link for link in server.engine.links() if not link.receiver)
    source.send(b"abc", 1)
    pump(client, server)
    for (link, handle, *_), outcome in zip(server.all("message"), (Outcome.REJECTED, Outcome.MODIFIED), strict=True):
        link.settle(handle, outcome, DENIED if outcome is Outcome.REJECTED else None)
    receiver.settle(client.all("message")[0][1], Outcome.REJECTED, Condition("x", "bé"))
    pump(client, server)
    receiver.stop_flow()
    pump(client, server)
    receiver.detach(condition=Condition("x:y", "ü"))
    sender.send(bytes(2000), 3)
    pump(client, server)
    client.engine.close(Condition("x:z", "é"))
    pump(client, server)
    return sent[False][sent[False].index(AMQP_HEADER) :], sent[True]


def feed(data: bytes, server: bool, step: int = 1 << 30) -> End:
    """An engine that was given ``data`` in pieces of ``step`` bytes, and then the end of input."""
    end = End(server=server)
    if not server:
        end.engine.open()
        end.engine.attach_sender("s", Terminus("t"))
        end.engine.attach_receiver("private:t", Terminus("private:t"), at_most_once=False)
    said = b""
    for at in range(0, len(data), step):
        end.engine.receive(data[at : at + step])
        while output := end.engine.output():
            said += output
            end.engine.sent(len(output))
        for link in end.engine.links():
            if not link.receiver and link.credit:
                link.send(b"m", at)
    end.engine.end_of_input()
    assert len(end.all("close")) == 1
    if AMQP_HEADER in said:
        for name, fields in frames_of(said[said.index(AMQP_HEADER) :]):
            assert not lacks(name, fields), (name, fields)
    return end


@given(st.binary(max_size=200), st.booleans(), st.booleans(), st.sampled_from([1, 7, 1 << 30]))
@settings(max_examples=60, deadline=None)
def test_bytes_that_mean_nothing_only_end_the_connection(data: bytes, headed: bool, server: bool, step: int) -> None:
    feed(AMQP_HEADER + data if headed else data, server, step)


FAULT = st.tuples(
    st.integers(0, 3000),
    st.sampled_from(["replace", "insert", "delete", "repeat"]),
    st.binary(min_size=1, max_size=8),
)


@given(st.booleans(), st.lists(FAULT, min_size=1, max_size=4), st.sampled_from([1, 7, 1 << 30]))
@settings(max_examples=250, deadline=None)
def test_a_faulty_peer_only_ends_its_connection(server: bool, faults: list[tuple[int, str, bytes]], step: int) -> None:
    data = bytearray(recording()[0 if server else 1])
    for place, kind, what in faults:
        at = place % len(data)
        if kind == "replace":
            data[at : at + len(what)] = what
        elif kind == "insert":
            data[at:at] = what
        elif kind == "delete":
            del data[at : at + len(what)]
        else:
            data[at:at] = data[at : at + 30 * len(what)]
    feed(bytes(data), server, step)


OPEN = frame(0, bytes.fromhex("005310c00401a10163"))
BEGIN = performative(0x11, [None, Uint(0), Uint(2048), Uint(2048)])
TARGET = Described(Ulong(0x29), ["t", None, None, None, None, None, "ü"])
ATTACH = performative(0x12, ["a", Uint(0), False, None, None, Described(Ulong(0x28), []), TARGET, None, None, Uint(0)])


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        (b"\x00\x00\x00\x01\x02\x00\x00\x00", "amqp:connection:framing-error"),
        (b"\xff\xff\xff\xff\x02\x00\x00\x00", "amqp:connection:framing-error"),
        (frame(0, bytes.fromhex("005310c00401a101ff")), "amqp:decode-error"),
        (OPEN + frame(0, bytes.fromhex("005318c00c010053 1dc00602a301f0a10178".replace(" ", ""))), "amqp:decode-error"),
        (performative(0x10, ["c", None, None, None, None, None, None, "ü"]), "amqp:decode-error"),
        (performative(0x10, ["c", None, None, None, None, None, None, 7]), "amqp:decode-error"),
        (OPEN + BEGIN + ATTACH, "amqp:decode-error"),
    ],
    ids=[
        "frame too short",
        "frame too large",
        "container id that is not UTF-8",
        "condition that is not ASCII",
        "capability of a connection that is not ASCII",
        "capability of a connection that is a number",
        "capability of a link that is not ASCII",
    ],
)
def test_a_frame_that_makes_no_sense_closes_the_connection_and_says_so(frames: bytes, name: str) -> None:
    server = End(server=True)
    server.engine.receive(AMQP_HEADER + frames)
    (condition,) = server.one("close")
    assert condition.name == name and condition.description
    assert name.encode() in server.engine.output()
    assert server.engine.closed


WRONG_WAY = performative(0x14, [Uint(0), Uint(0), b"t", Uint(0)], b"m")
WRONG_WAY_SETTLED = performative(0x14, [Uint(0), Uint(0), b"t", Uint(0), True], b"m")
CREDIT = performative(0x13, [Uint(0), Uint(9), Uint(0), Uint(9), Uint(0), Uint(0), Uint(9)])
SETTLE = performative(0x15, [False, Uint(0), Uint(9), True, Described(Ulong(0x24), [])])
LISTEN = performative(0x12, ["a", Uint(0), True, None, None, Described(Ulong(0x28), ["t"]), Described(Ulong(0x29), [])])
LEAVE = performative(0x16, [Uint(0), True])


BEGIN_AGAIN = performative(0x11, [Ushort(0), Uint(0), Uint(2048), Uint(2048)])
END = performative(0x17, [])


def test_a_frame_costs_no_more_time_than_its_bytes() -> None:
    """An array of nulls has no bytes for its elements: 60,000 of them would take 30 ms in a frame of 25 bytes."""
    peer = RawPeer(attach())
    nulls = bytes.fromhex("f0 00000005 0000ea60 40")
    ((name, fields),) = peer.give(frame(0, bytes.fromhex("005313c0") + bytes((len(nulls) + 1, 1)) + nulls))
    assert name == "close" and "MAX_ZERO_WIDTH" in fields[0].value[1]


def test_a_session_that_begins_twice_ends_the_connection() -> None:
    """Section 2.5.1."""
    pair = Pair()
    pair.sender()
    pair.server.engine.receive(BEGIN_AGAIN + END + ATTACH + WRONG_WAY)
    (condition,) = pair.server.one("close")
    assert condition == ("amqp:decode-error", "a session began twice")


def test_an_answer_to_a_session_that_is_over_ends_the_connection() -> None:
    pair = Pair()
    pair.sender()
    pair.server.engine.receive(END + BEGIN_AGAIN + END)
    (condition,) = pair.server.one("close")
    assert condition == ("amqp:decode-error", "a session began twice")


def test_a_session_beyond_channel_max_ends_the_connection_and_names_the_limit() -> None:
    """Section 2.7.1."""
    server = End(server=True, max_sessions=4)
    begins = [begin[:6] + bytes((0, channel)) + begin[8:] for channel, begin in enumerate([BEGIN] * 5)]
    server.engine.receive(AMQP_HEADER + OPEN + b"".join(begins[:4]))
    assert server.all("close") == []
    server.engine.receive(begins[4])
    (condition,) = server.one("close")
    assert condition.name == "amqp:connection:framing-error" and "channel-max" in condition.description


def test_sessions_that_come_and_go_are_not_counted_for_ever() -> None:
    server = End(server=True, max_sessions=4)
    server.engine.receive(AMQP_HEADER + OPEN + 50 * (BEGIN + END))
    assert server.all("close") == []


@pytest.mark.parametrize("refused", [False, True], ids=["accepted", "refused"])
@pytest.mark.parametrize(
    "frames",
    [
        [WRONG_WAY],
        [WRONG_WAY_SETTLED],
        [CREDIT, WRONG_WAY],
        [CREDIT, WRONG_WAY_SETTLED, SETTLE, LEAVE, LISTEN, CREDIT],
        [WRONG_WAY, SETTLE, CREDIT, LEAVE],
    ],
    ids=["alone", "settled", "after credit", "and all at once", "before credit"],
)
def test_a_message_over_a_link_of_the_other_direction_ends_the_connection(frames: list[bytes], refused: bool) -> None:
    server = End(server=True)
    if refused:
        server.answer = lambda link: link.refuse(DENIED)

    def send(link: Link) -> None:
        server.heard.append(("credit", link, link.credit))
        link.send(b"mine", "token")

    server.on_credit = send  # type: ignore[method-assign]
    server.engine.receive(AMQP_HEADER + OPEN + BEGIN + LISTEN)
    while output := server.engine.output():
        server.engine.sent(len(output))
    server.engine.receive(b"".join(frames))
    (condition,) = server.one("close")
    assert condition.name == "amqp:decode-error" and "sends on" in condition.description
    while output := server.engine.output():
        server.engine.sent(len(output))
    server.engine.end_of_input()


@pytest.mark.parametrize(
    "header",
    [b"AMQP\x03\x01\x00\x00", b"AMQP\x02\x01\x00\x00", b"\x16\x03\x01\x00\x05\x01\x00\x00", b"GET / HT"],
)
def test_a_client_that_begins_with_anything_but_amqp_gets_the_header_of_amqp_and_no_more(header: bytes) -> None:
    server = End(server=True)
    server.engine.receive(header)
    (condition,) = server.one("close")
    assert condition.name == "amqp:connection:framing-error" and repr(header) in condition.description
    assert server.engine.output() == AMQP_HEADER  # section 2.2


def test_the_header_may_come_in_pieces() -> None:
    server = End(server=True)
    for piece in (b"AM", b"QP\x00\x01", b"\x00\x00" + OPEN[:3], OPEN[3:]):
        server.engine.receive(piece)
    (peer,) = server.one("open")
    assert peer.container_id == "c"
    assert server.engine.output().startswith(AMQP_HEADER)


def test_a_capability_that_cannot_be_sent_back_does_no_harm() -> None:
    attach, _ = recording()
    at = attach.index(b"\xa3\x01x") if b"\xa3\x01x" in attach else attach.index(b"\x01x\x01y")
    for byte in range(0, 256, 5):
        for place in range(at - 8, at + 6):
            data = bytearray(attach)
            data[place] = byte
            feed(bytes(data), server=True)


def test_credit_that_is_taken_back_when_it_was_used_is_none() -> None:
    pair = Pair()
    link, source = pair.receiver(credit=3)
    for number in range(3):
        source.send(b"m", number)
    window = bytes.fromhex("43 7000000800 43 7000000800 43")
    flow = b"\x00\x53\x13\xc0" + bytes((4 + len(window), 7)) + window + b"\x43\x52\x01"
    pair.server.engine.receive(frame(0, flow))
    assert not source.closed and source.credit == 0


def test_connections_that_come_and_go_leave_nothing_behind() -> None:
    def connections(count: int) -> None:
        for _ in range(count):
            pair = Pair()
            link, _ = pair.sender()
            pair.receiver()
            link.send(b"m", 1)
            pair.client.engine.close()
            pair.pump()

    connections(5)
    sizes = []
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(3):
            connections(10)
            gc.collect()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert min(after - before for before, after in pairwise(sizes)) < 20_000
