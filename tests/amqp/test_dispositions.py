"""Dispositions of deliveries (sections 2.6.12, 2.7.6 and 3.4)."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair, disposition
from amqp.raw import ACCEPTED, RawPeer, attach, condition_of, performative, receiving_peer, settled, target, transfer
from mqlight.amqp import Condition, Outcome
from mqlight.amqp.dispositions import outcome_of
from mqlight.amqp.frames import Fields
from mqlight.amqp.values import Described, Uint, Ulong

RELEASED, RECEIVED = (Described(Ulong(code), []) for code in (0x26, 0x23))
MODIFIED = Described(Ulong(0x27), [])
UNDELIVERABLE = Described(Ulong(0x27), [True, True])


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


def send_and_settle(pair: Pair, outcome: Outcome, condition: Condition | None = None) -> Any:
    """Settle a message with this outcome; return the outcome that the sender hears."""
    link, other = pair.sender()
    link.send(b"m", "token")
    pair.pump()
    _, handle, _, settled = pair.server.one("message")
    assert not settled
    assert other.settle(handle, outcome, condition)
    assert pair.client.all("outcome") == []
    pair.pump()
    assert link.unsettled == {}
    return pair.client.one("outcome")[1:]


def test_an_accepted_message(pair: Pair) -> None:
    assert send_and_settle(pair, Outcome.ACCEPTED) == ["token", Outcome.ACCEPTED, None]


def test_a_released_message(pair: Pair) -> None:
    assert send_and_settle(pair, Outcome.RELEASED) == ["token", Outcome.RELEASED, None]


def test_a_rejected_message_comes_with_its_reason(pair: Pair) -> None:
    reason = Condition("amqp:decode-error", "ein Fehler: ü")
    assert send_and_settle(pair, Outcome.REJECTED, reason) == ["token", Outcome.REJECTED, reason]


def test_a_message_rejected_without_a_reason(pair: Pair) -> None:
    assert send_and_settle(pair, Outcome.REJECTED) == ["token", Outcome.REJECTED, Condition("", "")]


def test_a_modified_message_counts_as_failed(pair: Pair) -> None:
    assert send_and_settle(pair, Outcome.MODIFIED) == ["token", Outcome.MODIFIED, None]


def answered_with(pair: Pair, *answers: tuple[bool, Any]) -> list[Any]:
    """Return what the sender hears when the receiver says these: whether it is settled, and the state."""
    link, other = pair.sender()
    link.send(b"m", "token")
    pair.pump()
    for over, state in answers:
        disposition(other, pair.server.one("message")[1], over, state)
        pair.pump()
    return [outcome for _, outcome in pair.client.outcomes]


def test_modified_without_failure_is_the_same_as_released(pair: Pair) -> None:
    assert answered_with(pair, (True, MODIFIED)) == [Outcome.RELEASED]


def test_modified_and_undeliverable_here_is_told_apart(pair: Pair) -> None:
    """Section 3.4.5."""
    assert answered_with(pair, (True, UNDELIVERABLE)) == [Outcome.UNDELIVERABLE]


def test_an_undeliverable_message_is_told_as_such(pair: Pair) -> None:
    assert send_and_settle(pair, Outcome.UNDELIVERABLE) == ["token", Outcome.UNDELIVERABLE, None]


def test_settled_without_a_state_means_accepted(pair: Pair) -> None:
    assert answered_with(pair, (True, None)) == [Outcome.ACCEPTED]


def test_received_is_no_outcome_and_is_told(pair: Pair) -> None:
    """Section 3.4.4."""
    assert answered_with(pair, (False, RECEIVED)) == []
    assert [token for _, token in pair.client.all("received")] == ["token"]


def test_an_outcome_is_told_once_however_often_the_peer_says_it(pair: Pair) -> None:
    assert answered_with(pair, (False, ACCEPTED), (False, RELEASED), (True, None)) == [Outcome.ACCEPTED]


def test_messages_that_are_marked_as_received_are_told_as_one_range_and_can_still_be_settled(pair: Pair) -> None:
    """Section 3.4.4."""
    link, other = pair.sender()
    for token in range(50):
        link.send(b"m", token)
    pair.pump()
    handles = [handle for _, handle, _, _ in pair.server.all("message")]
    for handle in handles:
        other.mark_received(handle)
    assert pair.server.output().count(b"\x00\x53\x15") == 1
    pair.pump()
    assert [token for _, token in pair.client.all("received")] == list(range(50))
    assert pair.client.outcomes == []
    for handle in handles:
        assert other.settle(handle, Outcome.ACCEPTED)
    pair.pump()
    assert pair.client.outcomes == [(token, Outcome.ACCEPTED) for token in range(50)]


def test_what_the_sender_settled_itself_is_not_held_any_more() -> None:
    """Section 2.6.12."""
    peer = RawPeer(attach(target=target(None)))
    peer.give(transfer(0), transfer(1), transfer(2))
    peer.give(performative(0x15, [False, Uint(0), Uint(1), True]))
    link, handle, *_ = peer.end.all("message")[0]
    assert not link.settle(handle, Outcome.ACCEPTED) and link.held == {2} and list(link.tags) == [2]


def test_a_range_of_dispositions_settles_each_message_in_it() -> None:
    """Section 2.7.6."""
    peer, link = receiving_peer()
    for token in range(10):
        link.send(b"m", token)
    peer.give(settled(2, 4))
    assert [token for token, _ in peer.end.outcomes] == [2, 3, 4]
    peer.give(settled(0, 2**31))
    assert [token for token, _ in peer.end.outcomes] == [2, 3, 4, 0, 1, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (ACCEPTED, Outcome.ACCEPTED),
        (Described(Ulong(0x25), []), Outcome.REJECTED),
        (RELEASED, Outcome.RELEASED),
        (Described(Ulong(0x27), [True]), Outcome.MODIFIED),
        (UNDELIVERABLE, Outcome.UNDELIVERABLE),
    ],
)
def test_a_receiver_that_settles_second_is_told_that_the_sender_has_settled(state: Any, outcome: Outcome) -> None:
    """Sections 2.6.12 and 2.8.3: the sender settles with the outcome that the receiver named."""
    peer, link = receiving_peer()
    link.send(b"m", "token")
    peer.taken()
    ((name, fields),) = peer.give(settled(0, state=state, over=False))
    assert name == "disposition" and fields[:4] == [False, 0, None, True] and fields[4] == state
    assert peer.end.outcomes == [("token", outcome)]


@pytest.mark.parametrize(
    ("code", "fields", "outcome"),
    [
        (0x24, [], Outcome.ACCEPTED),
        (0x26, [], Outcome.RELEASED),
        (0x27, [], Outcome.RELEASED),
        (0x27, [True], Outcome.MODIFIED),
        (0x27, [False, True], Outcome.UNDELIVERABLE),
        (0x23, [], None),
        (0x34, [], None),
    ],
)
def test_a_state_stands_for_an_outcome_or_for_none(code: int, fields: list[Any], outcome: Outcome | None) -> None:
    assert outcome_of(Fields(code, fields)) == (outcome, None)


def test_a_rejection_without_a_reason_has_an_empty_one() -> None:
    assert outcome_of(Fields(0x25, [])) == (Outcome.REJECTED, Condition("", ""))
    assert outcome_of(None) == (None, None)


def test_a_range_of_dispositions_may_wrap() -> None:
    """Section 2.7.6: delivery numbers are serial numbers (RFC 1982)."""
    peer, link = receiving_peer()
    link.session.delivery = 2**32 - 1
    for token in "abc":
        link.send(b"m", token)
    peer.give(settled(2**32 - 1, 0))
    assert [token for token, _ in peer.end.outcomes] == ["a", "b"] and list(link.unsettled.values()) == ["c"]


@pytest.mark.parametrize(("first", "last"), [(2, 1), (0, 2**32 - 1)])
def test_a_range_that_ends_before_it_begins_settles_nothing(first: int, last: int) -> None:
    """Section 2.7.6: it would stand for nearly all deliveries."""
    peer, link = receiving_peer()
    for token in range(4):
        link.send(b"m", token)
    peer.taken()
    ((name, fields),) = peer.give(settled(first, last))
    assert name == "end" and condition_of(fields) == "amqp:invalid-field"
    assert peer.end.outcomes == [] and peer.end.one("detach")[3] == [0, 1, 2, 3]


def test_a_disposition_of_deliveries_that_are_not_unsettled_tells_nothing() -> None:
    peer, link = receiving_peer()
    link.send(b"m", "token")
    peer.give(settled(7), settled(100, 2**31))
    assert peer.end.outcomes == [] and not peer.end.engine.closed
    peer.give(settled(0), settled(0))
    assert peer.end.outcomes == [("token", Outcome.ACCEPTED)]


def test_a_disposition_that_neither_settles_nor_has_a_state_tells_nothing() -> None:
    peer, link = receiving_peer()
    link.send(b"m", "token")
    peer.taken()
    assert peer.give(settled(0, state=None, over=False)) == []
    assert peer.end.outcomes == [] and peer.end.all("received") == [] and link.unsettled


def test_a_sender_that_only_tells_a_state_settles_nothing() -> None:
    """Section 2.6.12."""
    peer = RawPeer(attach(), transfer(0), transfer(1))
    (link,) = peer.end.engine.links()
    peer.give(performative(0x15, [False, Uint(0), Uint(1), False, ACCEPTED]))
    assert link.held == {0, 1}


def test_messages_that_are_settled_together_are_told_together() -> None:
    told: list[Any] = []

    class Handler:
        def __getattr__(self, name: str) -> object:
            return lambda link, *arguments: told.append((link.name, name, *arguments))

    pair = Pair()
    links = [pair.sender(name) for name in ("one", "two")]
    for link, _ in links:
        link.handler = Handler()  # type: ignore[assignment]
    for number, (link, _) in enumerate((*links[:1] * 3, links[1], links[0])):
        link.send(b"m", number)
    pair.pump()
    for _, link, handle, *_ in [each for each in pair.server.heard if each[0] == "message"]:
        link.settle(handle, Outcome.ACCEPTED)
    pair.pump()
    assert told == [
        ("to-one", "on_outcomes", [0, 1, 2], Outcome.ACCEPTED, None),
        ("to-two", "on_outcomes", [3], Outcome.ACCEPTED, None),
        ("to-one", "on_outcomes", [4], Outcome.ACCEPTED, None),
    ]
