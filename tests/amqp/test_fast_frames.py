"""Transfers and dispositions in their usual form, which the decoder never sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqp.pair import Pair
from amqp.raw import ACCEPTED
from mqlight.amqp import Outcome
from mqlight.amqp.codec import Described, Uint, Ulong
from mqlight.amqp.fast_frames import take_disposition, take_transfer, take_transfers
from mqlight.amqp.frames import DISPOSITION, performative


def test_messages_in_any_number_take_no_decoder() -> None:
    """The usual form of transfers and dispositions has a way of its own: nothing but this test would miss it."""
    pair = Pair(client={"credit": 0}, server={"credit": 5000})
    link, other = pair.sender()
    back, source = pair.receiver(credit=5000)
    for sender, receiver, sending, receiving in (
        (link, other, pair.client, pair.server),
        (source, back, pair.server, pair.client),
    ):
        for number in range(300):
            sender.send(b"m", number)
            sender.send(b"m", settled=True)
        before = sending.engine.decoded + receiving.engine.decoded
        pair.pump()
        for _, handle, _, settled in receiving.all("message"):
            if not settled:
                receiver.settle(handle, Outcome.ACCEPTED)
        pair.pump()
        assert len(receiving.messages) == 600 and len(sending.outcomes) == 300
        # The first frame of either kind of a session is taken apart; then the session is known.
        assert sending.engine.decoded + receiving.engine.decoded - before <= 2


@pytest.mark.parametrize("handle", [1, 255, 256, 70_000])
def test_plain_python_takes_what_send_writes_at_once(handle: int) -> None:
    """In plain Python the form of ``Link.send`` has the shortest way: nothing but this test would miss it."""
    pair = Pair()
    first, _ = pair.sender("first")
    first.session.free.append(handle)
    link, other = pair.sender("other")
    first.send(b"the first of a session")
    pair.pump()
    pair.server.heard.clear()
    for number in range(5):
        link.send(b"m", number)
    link.send(b"settled", settled=True)
    data = pair.client.output()
    assert take_transfers(pair.server.engine, data, 0, len(data)) == len(data)
    assert pair.server.messages == [b"m"] * 5 + [b"settled"]
    assert len(other.held) == 5


def test_a_transfer_that_needs_a_closer_look_is_left_for_later() -> None:
    pair = Pair(server={"max_message_size": 100})
    link, other = pair.sender()
    engine = pair.server.engine

    def taken(message: bytes) -> bool:
        link.send(message, settled=True)
        data = pair.client.output()
        pair.client.sent(len(data))
        stop = take_transfers(engine, data, 0, len(data))
        assert stop in (0, len(data))
        if not stop:
            engine.receive(data)
        return stop > 0

    assert not taken(b"the first of a session")
    assert taken(b"m" * 100)
    other.closed = True
    assert not taken(b"m")
    other.closed = False
    assert not taken(b"m" * 101)
    assert other.closed and pair.server.all("detach")


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), max_size=4), st.integers(0, 250))
def test_the_shortest_way_of_a_transfer_takes_what_the_others_take(damage: list[tuple[int, int]], cut: int) -> None:
    heard = []
    for shortest in (True, False):
        pair = Pair(server={"max_message_size": 60, "credit": 8})
        link, _ = pair.sender()
        link.send(b"the first of a session")
        pair.pump()
        for size in (0, 1, 40, 60, 5):
            link.send(b"m" * size, settled=size == 1)
        data = bytearray(pair.client.output())
        for at, value in damage:
            data[at % len(data)] = value
        engine = pair.server.engine
        if not shortest:
            engine.usual.clear()
        engine.receive(bytes(data[:cut]))
        engine.receive(bytes(data[cut:]))
        heard.append(([[str(each) for each in event[2:]] for event in pair.server.heard[3:]], engine.output()))
    assert heard[0] == heard[1]


def test_a_transfer_whose_fields_are_more_or_fewer_than_it_says_is_left_to_the_decoder() -> None:
    pair = Pair()
    link, other = pair.sender()
    link.send(b"m")
    frame = pair.client.output()
    fields = bytearray(frame[11:])
    for count in (3, 4, 6, 255):
        fields[2] = count
        assert not take_transfer(other.session, bytes(fields), 0, len(fields))
    fields[2] = 5
    assert take_transfer(other.session, bytes(fields), 0, len(fields))


def disposition(
    first: object, last: object, over: object, state: object, *more: object, receiver: object = True
) -> bytes:
    return performative(DISPOSITION, [receiver, first, last, over, state, *more])[3:]


def test_a_disposition_that_accepts_and_settles_is_taken_in_each_form() -> None:
    for first, last, more in ((Uint(0), None, ()), (Uint(0), Uint(2), (False,)), (Uint(1), Uint(1), (None, None))):
        pair = Pair()
        link, _ = pair.sender()
        for number in range(3):
            link.send(b"m", number)
        data = disposition(first, last, True, ACCEPTED, *more)
        assert take_disposition(link.session, data, 0, len(data))
        told = range(int(first), int(first if last is None else last) + 1)
        assert pair.client.outcomes == [(number, Outcome.ACCEPTED) for number in told]


@pytest.mark.parametrize(
    "data",
    [
        disposition(Uint(0), None, True, Described(Ulong(0x26), [])),
        disposition(Uint(0), None, False, ACCEPTED),
        disposition(Uint(0), None, True, None),
        disposition(Uint(0), None, True, ACCEPTED, receiver=False),
        disposition(Uint(0), Uint(500), True, ACCEPTED),
        disposition(Uint(2), Uint(1), True, ACCEPTED),
        disposition(None, None, True, ACCEPTED),
        disposition(Uint(0), None, True, ACCEPTED, "more"),
        disposition(Uint(0), None, True, ACCEPTED).replace(b"\x05\x41", b"\x09\x41", 1),
    ],
    ids=[
        "released",
        "not settled",
        "no state",
        "a sender's",
        "too many",
        "backwards",
        "no number",
        "a field too many",
        "a count too high",
    ],
)
def test_another_disposition_is_left_to_the_decoder_and_changes_nothing(data: bytes) -> None:
    pair = Pair()
    link, _ = pair.sender()
    for number in range(3):
        link.send(b"m", number)
    for end in range(len(data) + 1):
        assert not take_disposition(link.session, data, 0, end)
    assert pair.client.outcomes == [] and len(link.unsettled) == 3
