"""The rules of section 2.6 for links, as a peer meets them that writes its frames by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amqp.pair import End, Pair
from amqp.raw import RawPeer, attach, flow, frames_of, performative, target, transfer
from mqlight.amqp import Condition, Link, Outcome
from mqlight.amqp.values import Uint

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


LONG = Condition("amqp:not-allowed", "é" * 50_000)


@pytest.mark.parametrize("most", [512, 4096])
def test_an_error_of_ours_fits_into_a_frame_that_the_peer_takes(most: int) -> None:
    """Section 2.7.1: a reason may be long, and only its beginning is told then."""
    ways: tuple[Callable[[End, Link], object], ...] = (
        lambda end, link: link.settle(0, Outcome.REJECTED, LONG),
        lambda end, link: link.detach(True, LONG, {"delivery-tag": b"t" * 32}),
        lambda end, link: end.engine.close(LONG),
    )
    for way in ways:
        open_frame = performative(0x10, ["c", None, Uint(most)])
        peer = RawPeer(open=open_frame)
        peer.give(attach(target=target(None)), transfer(0, tag=b"t" * 32))
        way(peer.end, peer.end.engine.links()[0])
        data = peer.end.output()
        assert most - 160 < int.from_bytes(data[:4], "big") == len(data) <= most
        assert "éé".encode() in data and list(frames_of(data))


def test_a_drain_that_waits_for_the_peers_window_is_answered_when_the_window_opens() -> None:
    """Sections 2.5.6 and 2.6.7: what waits is sent first, and then the rest of the credit is given up."""
    peer = RawPeer(attach(receiver=True))
    (link,) = peer.end.engine.links()
    peer.end.on_credit = lambda link: link.drain_answered()  # type: ignore[method-assign]
    peer.give(performative(0x13, [Uint(0), Uint(1), Uint(0), Uint(0), Uint(0), Uint(0), Uint(10)]))
    for token in range(3):
        link.send(b"m", token)
    assert [name for name, _ in peer.taken()] == ["transfer"]
    drain = [Uint(1), Uint(0), Uint(0), Uint(0), Uint(0), Uint(0), Uint(10), None, True]
    assert peer.give(performative(0x13, drain)) == []
    answers = peer.give(performative(0x13, [Uint(1), Uint(9), Uint(0), Uint(0)]))
    assert [name for name, _ in answers] == ["transfer", "transfer", "flow"]
    assert answers[-1][1][5:7] == [10, 0] and answers[-1][1][8] is True
