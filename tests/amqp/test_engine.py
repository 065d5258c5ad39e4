"""The engine: two of them, joined in memory."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import End, Pair
from mqlight.amqp import Condition, Link, Outcome, Terminus
from mqlight.amqp.output import CHUNK
from mqlight.server.sasl import Identity

DENIED = Condition("amqp:not-allowed", "not for you")


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


# Opening


def test_output_is_nothing_before_anything_happened() -> None:
    assert End(server=True).output() == b""


def test_a_client_begins_with_sasl_and_its_mechanism_follows_from_its_user() -> None:
    assert Pair().server.sasl.identity == Identity("ANONYMOUS")
    pair = Pair(client={"user": "ann", "password": "secret"})
    assert pair.server.sasl.identity == Identity("PLAIN", "ann", "secret")


def test_output_that_was_not_sent_is_given_again(pair: Pair) -> None:
    link, _ = pair.sender()
    link.send(b"hello", 1)
    first = pair.client.output()
    assert pair.client.output() == first
    pair.client.sent(10)
    assert pair.client.output() == first[10:]


def test_output_comes_in_chunks(pair: Pair) -> None:
    link, _ = pair.sender()
    link.send(bytes(5 * CHUNK), 1)
    assert 0 < len(pair.client.output()) <= CHUNK


# Messages


def test_a_settled_message_has_no_outcome(pair: Pair) -> None:
    link, _ = pair.sender()
    link.send(b"m", "token", settled=True)
    pair.pump()
    assert pair.server.one("message")[2:] == [b"m", True]
    assert link.unsettled == {} and pair.client.all("outcome") == []


def test_messages_keep_their_order_and_outcomes_their_tokens(pair: Pair) -> None:
    link, other = pair.sender()
    for number in range(100):
        link.send(b"%d" % number, number)
    assert list(link.unsettled.values()) == list(range(100))
    pair.pump()
    assert pair.server.messages == [b"%d" % number for number in range(100)]
    for _, handle, data, _ in reversed(pair.server.all("message")):
        other.settle(handle, Outcome.RELEASED if int(data) % 2 else Outcome.ACCEPTED)
    pair.pump()
    assert dict(pair.client.outcomes) == {n: Outcome.RELEASED if n % 2 else Outcome.ACCEPTED for n in range(100)}


def test_the_server_sends_as_well(pair: Pair) -> None:
    link, other = pair.receiver(credit=2)
    assert other.credit == 2
    other.send(b"m", "token")
    pair.pump()
    _, handle, data, _ = pair.client.one("message")
    link.settle(handle, Outcome.ACCEPTED)
    pair.pump()
    assert (data, pair.server.outcomes) == (b"m", [("token", Outcome.ACCEPTED)])


def test_an_empty_message_arrives(pair: Pair) -> None:
    link, _ = pair.sender()
    link.send(b"", 1)
    pair.pump()
    assert pair.server.messages == [b""]


def test_a_message_of_five_megabytes_arrives(pair: Pair) -> None:
    link, _ = pair.sender()
    data = bytes(range(256)) * (5 * 4096)
    link.send(data, 1)
    link.send(b"next", 2)
    pair.pump()
    assert pair.server.messages == [data, b"next"]


def test_a_message_of_the_largest_size_arrives() -> None:
    pair = Pair(server={"max_message_size": 1000})
    link, _ = pair.sender()
    link.send(bytes(1000), 1)
    pair.pump()
    assert [len(data) for data in pair.server.messages] == [1000]


def test_a_larger_message_costs_its_sender_the_link_and_says_why() -> None:
    pair = Pair(server={"max_message_size": 1000})
    link, other = pair.sender()
    link.send(bytes(1001), "token")
    pair.pump()
    assert pair.server.messages == []
    assert pair.server.one("detach")[:3] == [other, True, None]
    _, closed, condition, unsettled = pair.client.one("detach")
    assert closed and unsettled == ["token"]
    assert condition.name == "amqp:link:message-size-exceeded" and "1000 bytes" in condition.description
    assert pair.server.engine.links() == pair.client.engine.links() == []
    link, _ = pair.sender("another")
    link.send(b"fine", 1)
    pair.pump()
    assert pair.server.messages == [b"fine"]


# Credit


def test_credit_is_what_was_granted_less_what_was_sent(pair: Pair) -> None:
    link, other = pair.receiver(credit=3)
    other.send(b"1", 1)
    pair.pump()
    assert (other.credit, link.credit) == (2, 2)
    link.flow(5)
    pair.pump()
    assert (other.credit, link.credit) == (7, 7)
    assert [credit for _, credit in pair.server.all("credit")] == [3, 7]


def test_drained_credit_is_given_back(pair: Pair) -> None:
    link, other = pair.receiver(credit=10)
    link.stop_flow()
    pair.pump()
    other.drain_answered()
    pair.pump()
    assert link.credit == other.credit == 0
    assert pair.client.all("credit")[-1] == [link, 0]
    link.flow(4)
    pair.pump()
    assert link.credit == other.credit == 4


def test_what_is_sent_before_the_drain_is_answered_counts(pair: Pair) -> None:
    link, other = pair.receiver(credit=10)
    link.stop_flow()
    pair.pump()
    other.send(b"last", 1)
    other.drain_answered()
    pair.pump()
    assert pair.client.messages == [b"last"]
    assert link.credit == 0


def test_a_drain_that_nobody_asked_for_is_not_answered(pair: Pair) -> None:
    link, other = pair.receiver(credit=10)
    other.drain_answered()
    pair.pump()
    assert link.credit == other.credit == 10


def test_a_link_that_is_gone_takes_no_credit(pair: Pair) -> None:
    link, _ = pair.receiver()
    link.detach()
    pair.pump()
    link.flow(1)
    link.stop_flow()
    link.drain_answered()
    assert link.credit == 0


# Detaching


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("kind", ["sender", "receiver"])
@pytest.mark.parametrize("who", ["client", "server"])
def test_each_end_may_detach_and_both_hear_of_it(pair: Pair, who: str, kind: str, closed: bool) -> None:
    link, other = getattr(pair, kind)()
    (link if who == "client" else other).detach(closed=closed)
    pair.pump()
    assert pair.client.one("detach") == [link, closed, None, []]
    assert pair.server.one("detach") == [other, closed, None, []]
    assert pair.client.engine.links() == pair.server.engine.links() == []


def test_a_detach_may_say_why(pair: Pair) -> None:
    _, other = pair.sender()
    other.detach(condition=DENIED)
    pair.pump()
    assert pair.client.one("detach")[2] == DENIED


def test_to_detach_twice_is_to_detach_once(pair: Pair) -> None:
    link, _ = pair.sender()
    link.detach()
    link.detach(closed=False)
    pair.pump()
    link.detach()
    pair.pump()
    assert len(pair.client.all("detach")) == len(pair.server.all("detach")) == 1


def holding_two_of_three(pair: Pair) -> tuple[Link, Link]:
    link, other = pair.receiver()
    for token in "abc":
        other.send(b"m", token)
    pair.pump()
    link.settle(pair.client.all("message")[1][1], Outcome.ACCEPTED)
    pair.pump()
    assert pair.server.outcomes == [("b", Outcome.ACCEPTED)]
    return link, other


def test_a_detach_tells_what_was_not_settled(pair: Pair) -> None:
    link, other = holding_two_of_three(pair)
    link.detach()
    pair.pump()
    assert pair.server.one("detach")[3] == ["a", "c"]
    assert other.unsettled == {}
    assert pair.server.outcomes == [("b", Outcome.ACCEPTED)]


def test_what_a_receiver_held_when_its_peer_detached_is_released(pair: Pair) -> None:
    """Proton would settle it without a state, and that means accepted."""
    _, other = holding_two_of_three(pair)
    other.detach()
    pair.pump()
    assert sorted(token for token, outcome in pair.server.outcomes[1:] if outcome is Outcome.RELEASED) == ["a", "c"]
    assert pair.server.one("detach")[3] == []


def test_a_handle_is_refused_when_its_link_is_gone(pair: Pair) -> None:
    link, other = pair.sender()
    link.send(b"m", 1)
    pair.pump()
    handle = pair.server.one("message")[1]
    link.detach()
    pair.pump()
    assert not other.settle(handle, Outcome.REJECTED, DENIED)


def test_a_handle_is_refused_when_its_connection_is_gone(pair: Pair) -> None:
    link, other = pair.sender()
    link.send(b"m", 1)
    pair.pump()
    handle = pair.server.one("message")[1]
    pair.server.engine.end_of_input()
    assert not other.settle(handle, Outcome.ACCEPTED)


# Sessions


def other_end_closes_its_session(end: End) -> None:
    session = next(iter(end.engine.links())).session
    session.end(None)


def test_a_session_that_the_peer_ends_takes_its_links_along(pair: Pair) -> None:
    link, other = pair.receiver()
    other.send(b"m", "token")
    pair.pump()
    other_end_closes_its_session(pair.client)
    pair.pump()
    assert pair.server.one("detach") == [other, False, None, ["token"]]
    assert pair.server.engine.links() == []
    assert not pair.server.engine.closed


def test_a_link_may_be_attached_again_as_soon_as_its_session_is_known_to_be_over(pair: Pair) -> None:
    pair.sender("first")

    def again(link: Link, *_: Any) -> None:
        pair.client.engine.attach_sender("again", Terminus("second"))

    pair.client.on_detach = again  # type: ignore[method-assign]
    other_end_closes_its_session(pair.server)
    pair.pump()
    (link,) = pair.client.engine.links()
    assert (link.name, link.credit) == ("again", 100)
    link.send(b"m", 1)
    pair.pump()
    assert pair.server.messages == [b"m"]
