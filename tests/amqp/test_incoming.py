"""Messages that arrive in several frames (section 2.6.14)."""

from __future__ import annotations

import pytest

from amqp.pair import Pair
from amqp.pair import transfer as write_transfer
from amqp.raw import RawPeer, attach, condition_of, target, transfer
from memory import kept, resident
from mqlight.amqp.codec import Uint
from mqlight.amqp.frames import GarbledError
from mqlight.amqp.incoming import Incoming


def test_a_changed_message_format_within_a_delivery_ends_the_link() -> None:
    """Section 2.7.5."""
    peer = RawPeer(attach())
    peer.give(transfer(0, more=True, format=Uint(0)))
    ((name, fields),) = peer.give(transfer(None, tag=None, format=Uint(1)))
    assert name == "detach" and condition_of(fields, 2) == "amqp:invalid-field"
    assert peer.end.messages == []


def test_a_changed_delivery_tag_within_a_delivery_ends_the_link() -> None:
    """Section 2.7.5: a further transfer leaves it out, or repeats it."""
    peer = RawPeer(attach())
    assert peer.give(transfer(0, b"a", more=True), transfer(None, b"b", tag=b"tag")) == []
    assert peer.end.messages == [b"ab"]
    ((name, fields),) = peer.give(transfer(1, more=True), transfer(None, tag=b"another"))
    assert name == "detach" and condition_of(fields, 2) == "amqp:invalid-field"
    assert len(peer.end.messages) == 1 and not peer.end.engine.closed


@pytest.mark.parametrize("more", [False, True])
def test_a_delivery_tag_has_at_most_32_bytes(more: bool) -> None:
    """Section 2.8.7."""
    peer = RawPeer(attach())
    assert peer.give(transfer(0, tag=b"t" * 32)) == []
    ((name, fields),) = peer.give(transfer(1, tag=b"t" * 33, more=more))
    assert name == "close" and condition_of(fields) == "amqp:decode-error"
    assert len(peer.end.messages) == 1


ABORTED = [
    pytest.param([transfer(0, more=True), transfer(None, tag=None, aborted=True)], id="after a part"),
    pytest.param([transfer(0, aborted=True)], id="at once"),
    pytest.param([transfer(0, more=True), transfer(None, tag=None, more=True, aborted=True)], id="though more is said"),
]
RESUMED = [
    pytest.param([transfer(0, resume=True)], id="in one frame"),
    pytest.param([transfer(0, resume=True, more=True), transfer(None, tag=None)], id="in two frames"),
    pytest.param([transfer(0, resume=True, settled=True)], id="settled"),
    pytest.param([transfer(0, resume=True, more=True), transfer(None, tag=None, aborted=True)], id="and aborted"),
]


@pytest.mark.parametrize("frames", [*ABORTED, *RESUMED])
@pytest.mark.parametrize("address", ["t", None])
def test_a_delivery_that_is_aborted_or_resumed_is_no_message_and_its_credit_comes_back(
    address: str | None, frames: list[bytes]
) -> None:
    """Section 2.7.5: what is not in the unsettled map of a receiver is not resumed; our map is always empty."""
    peer = RawPeer(attach(target=target(address)), credit=1)
    (link,) = peer.end.engine.links()
    answers = [answer for frame in frames for answer in peer.give(frame)]
    ((name, fields),) = answers
    assert name == "flow" and fields[5:7] == [1, 1]
    assert peer.end.messages == [] and peer.end.engine.unfinished() == 0 and not link.held and not link.tags
    peer.give(transfer(1, b"whole"))
    assert peer.end.messages == [b"whole"] and link.credit == 0


def test_messages_of_several_links_may_be_interleaved() -> None:
    """Section 2.6.14."""
    peer = RawPeer(attach("a", 0), attach("b", 1))
    peer.give(transfer(0, b"a", more=True), transfer(1, b"b", handle=1, more=True))
    assert peer.end.engine.unfinished() == 2
    peer.give(transfer(None, b"A", tag=None), transfer(None, b"B", tag=None, handle=1))
    assert peer.end.messages == [b"aA", b"bB"] and peer.end.engine.unfinished() == 0


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


def test_a_message_arrives_in_the_smallest_of_frames() -> None:
    pair = Pair(server={"max_frame_size": 512})
    link, _ = pair.sender()
    data = bytes(range(256)) * 400
    link.send(data, 1)
    frame = pair.client.output()
    assert int.from_bytes(frame[:4], "big") <= 512
    pair.pump()
    assert pair.server.messages == [data]


def test_a_message_arrives_byte_by_byte(pair: Pair) -> None:
    link, _ = pair.sender()
    link.send(b"hello", 1)
    for byte in pair.client.output():
        assert pair.server.messages == []
        pair.server.receive(bytes([byte]))
    assert pair.server.messages == [b"hello"]


def test_an_aborted_message_never_arrives(pair: Pair) -> None:
    """Section 2.7.5."""
    link, _ = pair.sender()
    write_transfer(link, b"half", 0, more=True)
    pair.pump()
    assert pair.server.engine.unfinished() == 4
    write_transfer(link, b"", None, aborted=True)
    pair.pump()
    assert pair.server.engine.unfinished() == 0
    link.send(b"whole", 1)
    pair.pump()
    assert pair.server.messages == [b"whole"]


def test_a_sender_that_never_ends_its_message_takes_no_memory() -> None:
    pair = Pair(server={"max_message_size": 1000})
    link, _ = pair.sender()
    part = bytes(60_000)
    before = resident()
    for frames in range(700):
        write_transfer(link, part, None if frames else 0, more=True)
        while data := pair.client.output():
            pair.client.sent(len(data))
            pair.server.receive(data)
    assert resident() - before < 20_000_000
    assert len(pair.server.all("detach")) == 1


def test_a_message_in_very_small_parts_takes_no_more_memory_than_in_large_ones() -> None:
    link, _ = (pair := Pair()).sender()
    write_transfer(link, b"ab", 0, more=True)
    first = pair.client.output()
    pair.client.sent(len(first))
    write_transfer(link, b"cd", None, more=True)
    part = pair.client.output()
    pair.server.receive(first)
    assert kept(lambda: pair.server.receive(part * 5000)) < 20_000
    assert pair.server.engine.unfinished() == 10_002


def test_output_and_unfinished_messages_are_counted() -> None:
    pair = Pair()
    link, _ = pair.sender()
    assert pair.client.engine.pending() == 0
    link.send(bytes(1000), settled=True)
    assert 1000 < pair.client.engine.pending() < 1100
    data = pair.client.output()
    pair.client.sent(500)
    assert pair.client.engine.pending() == len(data) - 500
    pair.server.receive(data[:500])
    assert pair.server.engine.unfinished() == 500
    pair.pump()
    assert pair.client.engine.pending() == pair.server.engine.unfinished() == 0


def test_a_delivery_counts_its_bytes_until_it_is_forgotten() -> None:
    incoming = Incoming(7, b"t", -1, False)
    incoming.add(b"one")
    incoming.add(b"two")
    assert incoming.size == 6
    assert incoming.forget() == b"onetwo"
    assert incoming.size == 0 and incoming.forget() == b""


@pytest.mark.parametrize(
    ("number", "tag", "form", "right"),
    [(-1, None, -1, True), (7, b"t", 0, True), (-1, None, 1, False), (7, b"t", 1, False), (-1, b"u", -1, False)],
)
def test_a_further_transfer_is_of_the_same_delivery_and_format(
    number: int, tag: bytes | None, form: int, right: bool
) -> None:
    """Section 2.7.5: all of them may be left out."""
    wrong = Incoming(7, b"t", -1, False).wrong(number, tag, form)
    assert (wrong is None) is right
    assert wrong is None or wrong.name == "amqp:invalid-field"


def test_a_transfer_of_another_delivery_is_garbled() -> None:
    with pytest.raises(GarbledError, match="the delivery 8 came where 7 was not over"):
        Incoming(7, b"t", -1, False).wrong(8, None, -1)
