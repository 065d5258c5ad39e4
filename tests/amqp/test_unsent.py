"""Messages that the socket has not taken completely, known from the output."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair
from mqlight.amqp import Link
from mqlight.amqp.frames import AMQP_HEADER, FLOW, frame, performative
from mqlight.amqp.unsent import Unsent


def tokens_of_unsent(link: Link) -> list[Any]:
    return sorted(link.unsent())


def test_a_message_has_left_when_the_socket_has_taken_its_last_byte() -> None:
    pair = Pair(client={"credit": 0}, server={"credit": 5})
    link, _ = pair.sender()
    for token in range(8):
        link.send(b"x" * 100, token)
    assert tokens_of_unsent(link) == list(range(8))
    each = len(pair.client.output()) // 5  # three wait for credit
    for sent in range(5):
        pair.client.sent(each - 1)
        assert tokens_of_unsent(link) == list(range(sent, 8))
        pair.client.output()
        pair.client.sent(1)
        assert tokens_of_unsent(link) == list(range(sent + 1, 8))


def test_a_large_message_has_left_with_its_last_frame() -> None:
    pair = Pair(server={"max_frame_size": 512})
    link, _ = pair.sender()
    link.session.window = link.session.next_out + 3
    link.send(bytes(2000), "large")
    assert len(link.queue) == 1
    while data := pair.client.output():
        pair.client.sent(len(data))
    assert link.unsent() == ["large"], "a frame of it waits for the session's window"
    link.session.window += 10
    link.send_waiting()
    size = len(pair.client.output())
    pair.client.sent(size - 1)
    assert link.unsent() == ["large"]
    pair.client.sent(1)
    assert link.unsent() == []


def test_messages_written_since_the_last_look_are_known_as_well() -> None:
    pair = Pair(client={"credit": 0}, server={"credit": 1000})
    link, _ = pair.sender()
    other, _ = pair.sender("other")
    engine = pair.client.engine
    ends: dict[int, int] = {}
    for token in range(60):
        link.send(b"m" * token, token)
        ends[token] = engine.out.taken + engine.pending()
        other.send(b"o" * 300, settled=True)
        if token % 3 == 0:
            pair.client.sent(min(700, len(pair.client.output())))
        assert tokens_of_unsent(link) == [token for token, end in ends.items() if end > engine.out.taken]


def test_what_has_not_left_is_known_when_the_link_and_when_the_connection_ends() -> None:
    pair = Pair(client={"credit": 0})
    told: list[list[Any]] = []
    pair.server.on_detach = lambda link, closed, condition: told.append(link.unsent())  # type: ignore[method-assign]
    link, other = pair.receiver("private:a")
    _, second = pair.receiver("private:b")
    other.send(b"left", "left")
    pair.pump()
    other.send(b"here", "here")
    second.send(b"here", "second")
    link.detach()
    while data := pair.client.output():
        pair.client.sent(len(data))
        pair.server.receive(data)
    pair.server.engine.end_of_input()
    assert told == [["here"]] and second.unsent() == ["second"]


def sent(number: int, channel: int = 0, handle: bytes = b"\x43") -> bytes:
    """A transfer as :meth:`Link.send` writes it: a list8 of an encoded handle, a uint of four bytes and the tag."""
    fields = handle + b"\x70" + number.to_bytes(4, "big") + b"\xa0\x03tag"
    return frame(channel, b"\x00\x53\x14\xc0" + bytes((len(fields) + 1, 3)) + fields + b"payload")


@pytest.mark.parametrize("handle", [b"\x43", b"\x52\x07", b"\x70\x00\x00\x01\x00"], ids=["0", "7", "256"])
@pytest.mark.parametrize("number", [0, 255, 2**32 - 1])
def test_a_delivery_ends_where_its_last_frame_ends(number: int, handle: bytes) -> None:
    unsent = Unsent()
    one, other = sent(number, 0, handle), sent(number, 3, handle)
    data = AMQP_HEADER + frame(0, performative(FLOW, [])) + one + one + other
    unsent.add(1000, data)
    assert unsent.known == 1000 + len(data) == unsent.end_of(3, number)
    assert unsent.end_of(0, number) == 1000 + len(data) - len(other)
    assert unsent.end_of(1, number) == 0


def test_frames_that_are_known_are_not_read_again() -> None:
    unsent = Unsent()
    unsent.add(0, sent(1))
    unsent.add(0, b"?" * len(sent(1)) + sent(2))
    assert unsent.end_of(0, 2) == unsent.known == len(sent(1) + sent(2))


def test_transfers_are_forgotten_when_all_of_them_are_taken() -> None:
    unsent = Unsent()
    unsent.add(0, sent(1) + sent(2))
    unsent.forget(unsent.known - 1)
    assert unsent.end_of(0, 1) > 0
    unsent.forget(unsent.known)
    assert unsent.end_of(0, 1) == unsent.end_of(0, 2) == 0
