"""The rules of section 2.6 for links, as a peer meets them that writes its frames by hand."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair
from amqp.raw import RawPeer, attach, flow, target, transfer
from mqlight.amqp import Condition, Outcome
from mqlight.amqp.fast_frames import take_transfers

DENIED = Condition("amqp:not-allowed", "not for you")


@pytest.mark.parametrize("credit", [5, 0])
def test_a_drain_is_answered_with_or_without_credit(credit: int) -> None:
    """Section 2.6.7."""
    peer = RawPeer(attach(receiver=True))
    link = peer.end.all("attach")[0][0]
    assert peer.give(flow(credit=credit, drain=True)) == []
    link.drain_answered()
    ((name, fields),) = peer.taken()
    assert name == "flow" and fields[5:7] == [credit, 0] and fields[8] is True
    link.drain_answered()
    assert peer.taken() == []


def test_a_flow_that_counts_more_messages_than_were_sent_is_of_the_credit_that_it_names() -> None:
    """Section 2.6.7: more would not fit into the 32 bits of an answer."""
    most = 2**32 - 1
    peer = RawPeer(attach(receiver=True))
    ((name, fields),) = peer.give(flow(count=5, credit=most, echo=True))
    assert name == "flow" and fields[5:7] == [0, most]
    assert peer.end.engine.links()[0].credit == most


def test_credit_that_no_flow_can_carry_is_refused() -> None:
    """Section 2.6.7."""
    pair = Pair()
    link, _ = pair.receiver("private:x", credit=1)
    for credit in (-1, 2**32 - 1):
        with pytest.raises(ValueError, match="link-credit"):
            link.flow(credit)
    link.flow(2**32 - 2)
    pair.pump()
    assert pair.server.engine.links()[0].credit == 2**32 - 1


def test_a_rejection_on_an_anonymous_link_names_the_delivery_tag() -> None:
    """Anonymous Terminus 1.0, section 2.2.2."""
    peer = RawPeer(attach(target=target(None)))
    peer.give(transfer(0, tag=b"my tag"), transfer(1, tag=b"\0\0\0\1"))
    for number, tag in enumerate((b"my tag", b"\0\0\0\1")):
        link, handle, *_ = peer.end.all("message")[number]
        link.settle(handle, Outcome.REJECTED, DENIED)
        ((_, fields),) = peer.taken()
        error = fields[4].value[0].value
        assert error[0] == DENIED.name and error[2] == {"delivery-tag": tag}
    assert link.tags == {}


def test_the_tag_of_a_settled_message_is_known_while_it_is_told() -> None:
    """Anonymous Terminus 1.0, section 2.2.2: such a message can only be refused with its link."""
    peer = RawPeer(attach(target=target(None)))
    tags = []
    peer.end.on_message = lambda link, handle, data, settled: tags.append(link.tag(handle))  # type: ignore[method-assign]
    peer.give(transfer(0, tag=b"long", settled=True), transfer(1, tag=b"again", settled=True))
    assert tags == [b"long", b"again"]
    assert peer.end.engine.links()[0].tags == {}


def test_a_detach_may_carry_information() -> None:
    peer = RawPeer(attach())
    peer.end.engine.links()[0].detach(True, DENIED, {"delivery-tag": b"x"})
    ((_, fields),) = peer.taken()
    assert fields[2].value[2] == {"delivery-tag": b"x"}


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


def test_a_handler_of_its_own_is_told_what_happens_on_a_link() -> None:
    pair = Pair()
    heard: list[tuple[Any, ...]] = []

    class Handler:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: heard.append((name, *arguments[1:]))

    link, other = pair.sender()
    link.handler = Handler()
    other.handler = Handler()
    link.send(b"m", "token")
    pair.pump()
    other.settle(heard[0][1], Outcome.RELEASED)
    other.flow(1)
    pair.pump()
    other.detach()
    pair.pump()
    assert heard == [
        ("on_message", 0, b"m", False),
        ("on_outcome", "token", Outcome.RELEASED, None),
        ("on_credit",),
        ("on_detach", True, None),
        ("on_detach", True, None),
    ]
    assert pair.client.messages == pair.server.messages == [] and pair.client.all("detach") == []


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
