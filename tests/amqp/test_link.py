"""The rules of section 2.6 for links, as a peer meets them that writes its frames by hand."""

from __future__ import annotations

import pytest

from amqp.pair import Pair
from amqp.raw import RawPeer, attach, flow, target, transfer
from mqlight.amqp import Condition, Outcome

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
