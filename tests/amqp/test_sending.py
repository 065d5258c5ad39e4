"""Messages that wait for credit or for the session's window (sections 2.5.6 and 2.6.7)."""

from __future__ import annotations

import pytest

from amqp.pair import Pair
from amqp.raw import RawPeer, attach, flow, frames_of, performative, receiving_peer
from mqlight.amqp import Link, Outcome
from mqlight.amqp.codec import Uint


def test_a_message_is_sent_before_its_drain_is_answered() -> None:
    peer = RawPeer(attach(receiver=True))
    link = peer.end.all("attach")[0][0]
    peer.give(flow(credit=1, drain=True))
    link.send(b"m")
    link.send(b"without credit")
    link.drain_answered()
    assert [name for name, _ in peer.taken()] == ["transfer"]


def test_a_link_that_receives_cannot_send() -> None:
    pair = Pair()
    link, _ = pair.receiver("private:x")
    with pytest.raises(ValueError, match="private:x"):
        link.send(b"m")


def test_a_window_that_is_full_holds_messages_back_until_a_flow_opens_it() -> None:
    """Section 2.5.6."""
    peer, link = receiving_peer()
    session = link.session
    session.window = session.next_out + 2
    for token in range(5):
        link.send(b"m", token)
    assert [name for name, _ in peer.taken()] == ["transfer", "transfer"]
    peer.give(performative(0x13, [Uint(2), Uint(1), Uint(0), Uint(9)]))
    assert session.next_out == 3
    assert len(link.queue) == 2
    peer.give(performative(0x13, [Uint(3), Uint(9), Uint(0), Uint(9)]))
    assert session.next_out == 5 and not link.queue


def test_messages_that_wait_for_credit_go_out_in_their_order_with_their_tokens() -> None:
    pair = Pair(server={"credit": 2})
    link, other = pair.sender()
    for number in range(5):
        link.send(b"%d" % number, number)
    pair.pump()
    assert pair.server.messages == [b"0", b"1"] and len(link.queue) == 3 and link.unsent() == [2, 3, 4]
    other.flow(9)
    pair.pump()
    assert pair.server.messages == [b"0", b"1", b"2", b"3", b"4"] and link.unsent() == []
    for _, handle, _, _ in pair.server.all("message"):
        other.settle(handle, Outcome.ACCEPTED)
    pair.pump()
    assert [token for token, _ in pair.client.outcomes] == [0, 1, 2, 3, 4] and not link.late


def test_a_message_for_a_link_that_is_gone_stays_with_its_owner() -> None:
    pair = Pair()
    link, _ = pair.sender()
    pair.client.engine.end_of_input()
    link.send(b"m", "token")
    assert list(link.unsettled.values()) == link.unsent() == ["token"]


def without_credit(messages: int) -> tuple[Pair, Link, Link]:
    """Return a pair, and both ends of a link on which so many messages wait; their tokens are their numbers."""
    pair = Pair(server={"credit": 0})
    link, other = pair.sender()
    for number in range(messages):
        link.send(b"%d" % number, number)
    pair.pump()
    assert len(link.queue) == messages and pair.server.messages == []
    return pair, link, other


def test_a_message_that_waits_has_a_key_below_zero_and_gets_its_delivery_number_when_it_goes() -> None:
    pair, link, other = without_credit(2)
    assert link.unsettled == {-1: 0, -2: 1} and link.session.delivery == 0
    other.flow(1)
    pair.pump()
    assert link.unsettled == {-1: 0, -2: 1} and link.late == {0: -1} and link.session.delivery == 1


def test_the_outcome_of_a_message_that_waited_comes_with_its_token() -> None:
    pair, link, other = without_credit(3)
    other.flow(3)
    pair.pump()
    for _, handle, _, _ in pair.server.all("message")[1:]:
        other.settle(handle, Outcome.RELEASED)
    pair.pump()
    assert pair.client.outcomes == [(1, Outcome.RELEASED), (2, Outcome.RELEASED)]
    assert list(link.unsettled.values()) == [0] and len(link.late) == 1


def test_a_settled_message_that_waits_has_no_token() -> None:
    pair, link, other = without_credit(0)
    link.send(b"m", "token", settled=True)
    assert link.unsettled == {} and link.unsent() == []
    other.flow(1)
    pair.pump()
    assert pair.server.one("message")[2:] == [b"m", True]


def test_messages_that_wait_go_no_more_when_their_link_is_detached() -> None:
    pair, link, other = without_credit(2)
    link.detach()
    other.flow(2)
    pair.pump()
    assert pair.server.messages == [] and pair.client.one("detach")[3] == [0, 1]


def test_the_rest_of_a_message_goes_no_more_when_its_link_is_detached() -> None:
    pair = Pair(server={"max_frame_size": 512})
    link, _ = pair.sender()
    link.session.window = link.session.next_out + 1
    link.send(bytes(2000), "large")
    link.detach()
    link.session.window += 10
    link.send_waiting()
    assert [name for name, _ in frames_of(pair.client.output())] == ["transfer", "detach"]
