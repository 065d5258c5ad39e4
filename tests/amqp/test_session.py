"""The rules of sections 2.5 to 2.7 for sessions, as a peer meets them that writes its frames by hand."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair
from amqp.raw import RawPeer, attach, begin, condition_of, flow, performative, source, target, transfer
from mqlight.amqp import Condition, Link, Outcome, Terminus
from mqlight.amqp.codec import Described, Symbol, Uint, Ulong

ACCEPTED = Described(Ulong(0x24), [])
DETACH = performative(0x16, [Uint(7), True])


def names(answers: list[tuple[str, list[Any]]]) -> list[str]:
    return [name for name, _ in answers]


def settled(first: int, last: int | None = None, state: Any = ACCEPTED, over: bool = True) -> bytes:
    return performative(0x15, [True, Uint(first), None if last is None else Uint(last), over, state])


# Handles


@pytest.mark.parametrize("frame", [flow(handle=7), transfer(0, handle=7), DETACH], ids=["flow", "transfer", "detach"])
def test_a_frame_for_an_unattached_handle_ends_the_session_and_no_more(frame: bytes) -> None:
    """Sections 2.7.4 and 2.8.17."""
    peer = RawPeer(attach())
    (name, fields), *rest = peer.give(frame)
    assert name == "end" and condition_of(fields) == "amqp:session:unattached-handle" and rest == []
    assert peer.end.all("close") == [] and len(peer.end.all("detach")) == 1


def test_a_handle_in_use_ends_the_session() -> None:
    """Section 2.7.3."""
    peer = RawPeer(attach())
    (name, fields), *rest = peer.give(attach("other"))
    assert name == "end" and condition_of(fields) == "amqp:session:handle-in-use" and rest == []
    assert not peer.end.engine.closed


def test_frames_for_a_session_that_this_end_ended_are_discarded_until_the_peers_end() -> None:
    """Section 2.5.5."""
    peer = RawPeer(attach())
    peer.give(flow(handle=7))
    assert peer.give(transfer(0), flow(), attach("more", 3)) == []
    assert peer.give(performative(0x17, [])) == []
    assert names(peer.give(begin(), attach())) == ["begin", "attach", "flow"]


# Names


@pytest.mark.parametrize("channel", [0, 1], ids=["the same session", "another session"])
def test_an_attach_steals_the_link_of_its_name(channel: int) -> None:
    """Section 2.6.1."""
    peer = RawPeer(attach(), begin(1))
    (old, *_) = peer.end.all("attach")[0]
    answers = peer.give(attach(handle=5, channel=channel))
    assert names(answers) == ["detach", "attach", "flow"]
    assert condition_of(answers[0][1], 2) == "amqp:link:stolen"
    assert peer.end.one("detach")[0] is old and old.closed
    assert names(peer.give(performative(0x16, [Uint(0), True]))) == []
    (link,) = peer.end.engine.links()
    assert link is not old and not link.closed
    peer.give(transfer(0, handle=5) if channel == 0 else b"")
    assert len(peer.end.messages) == (1 if channel == 0 else 0)


def test_links_of_one_name_to_other_addresses_may_stand_on_other_sessions() -> None:
    """IBM's Messenger gives each of its senders the name ``sender-xxx``."""
    peer = RawPeer(attach("sender-xxx"), begin(1))
    peer.give(attach("sender-xxx", target=target("other"), channel=1))
    assert len(peer.end.engine.links()) == 2 and peer.end.all("detach") == []


# Mandatory fields


@pytest.mark.parametrize(
    "frame",
    [
        attach(None),
        performative(0x12, ["l", None, False]),
        performative(0x12, ["l", Uint(1), None]),
        performative(0x12, ["l", Uint(1), False, None, None, source(), target()]),
        performative(0x13, [None, None, Uint(0), Uint(9)]),
        performative(0x13, [None, Uint(9), None, Uint(9)]),
        performative(0x14, [None, Uint(0), b"t"]),
        performative(0x15, [True, None]),
        performative(0x15, [None, Uint(0)]),
        performative(0x16, [None]),
        performative(0x11, [None, None, Uint(1), Uint(1)], channel=3),
        performative(0x11, [None, Uint(0), None, Uint(1)], channel=3),
        performative(0x18, [Described(Ulong(0x1D), [None, "x"])]),
        transfer(None),
        transfer(0, tag=None),
    ],
)
def test_a_frame_without_a_mandatory_field_closes_the_connection(frame: bytes) -> None:
    """Sections 2.7 and 2.8.14."""
    peer = RawPeer(attach())
    ((name, fields),) = peer.give(frame)
    assert name == "close" and condition_of(fields) == "amqp:decode-error"
    assert peer.end.engine.failed


# Transfers


def test_a_changed_message_format_within_a_delivery_ends_the_link() -> None:
    """Section 2.7.5."""
    peer = RawPeer(attach())
    peer.give(transfer(0, more=True, format=Uint(0)))
    ((name, fields),) = peer.give(transfer(None, tag=None, format=Uint(1)))
    assert name == "detach" and condition_of(fields, 2) == "amqp:invalid-field"
    assert peer.end.messages == []


def test_a_message_without_credit_ends_its_link() -> None:
    """Section 2.6.7."""
    peer = RawPeer(attach(), credit=1)
    peer.give(transfer(0))
    ((name, fields),) = peer.give(transfer(1))
    assert name == "detach" and condition_of(fields, 2) == "amqp:link:transfer-limit-exceeded"
    assert len(peer.end.messages) == 1 and not peer.end.engine.closed


def test_messages_of_several_links_may_be_interleaved() -> None:
    """Section 2.6.14."""
    peer = RawPeer(attach("a", 0), attach("b", 1))
    peer.give(transfer(0, b"a", more=True), transfer(1, b"b", handle=1, more=True))
    assert peer.end.engine.unfinished() == 2
    peer.give(transfer(None, b"A", tag=None), transfer(None, b"B", tag=None, handle=1))
    assert peer.end.messages == [b"aA", b"bB"] and peer.end.engine.unfinished() == 0


def test_what_the_sender_settled_itself_is_not_held_any_more() -> None:
    """Section 2.6.12."""
    peer = RawPeer(attach())
    peer.give(transfer(0), transfer(1), transfer(2))
    peer.give(performative(0x15, [False, Uint(0), Uint(1), True]))
    link, handle, *_ = peer.end.all("message")[0]
    assert not link.settle(handle, Outcome.ACCEPTED) and link.held == {2}


# Settlement


def receiver(**options: Any) -> tuple[RawPeer, Link]:
    """A peer that receives, and our sending link with credit for a hundred messages."""
    peer = RawPeer(attach(receiver=True, **options), flow(credit=100))
    return peer, peer.end.all("attach")[0][0]


def test_a_range_of_dispositions_settles_each_message_in_it() -> None:
    """Section 2.7.6."""
    peer, link = receiver()
    for token in range(10):
        link.send(b"m", token)
    peer.give(settled(2, 4))
    assert [token for token, _ in peer.end.outcomes] == [2, 3, 4]
    peer.give(settled(0, 2**31))
    assert [token for token, _ in peer.end.outcomes] == [2, 3, 4, 0, 1, 5, 6, 7, 8, 9]


def test_a_receiver_that_settles_second_is_told_that_the_sender_has_settled() -> None:
    """Sections 2.6.12 and 2.8.3."""
    peer, link = receiver(rcv=None)
    link.send(b"m", "token")
    peer.taken()
    ((name, fields),) = peer.give(settled(0, over=False))
    assert name == "disposition" and fields[:4] == [False, 0, None, True]
    assert peer.end.outcomes == [("token", Outcome.ACCEPTED)]


def test_what_is_held_when_the_peer_detaches_is_released_before_the_detach_is_answered() -> None:
    """Section 2.6.13."""
    peer = RawPeer(attach())
    peer.give(transfer(0), transfer(1))
    answers = peer.give(performative(0x16, [Uint(0), True]))
    assert names(answers) == ["disposition", "detach"]
    assert answers[0][1][1:3] == [0, 1] and answers[0][1][4] == Described(Ulong(0x26), [])


# Windows


def test_a_window_that_is_full_holds_messages_back_until_a_flow_opens_it() -> None:
    """Section 2.5.6."""
    peer, link = receiver()
    session = link.session
    session.window = session.next_out + 2
    for token in range(5):
        link.send(b"m", token)
    assert names(peer.taken()) == ["transfer", "transfer"]
    peer.give(performative(0x13, [Uint(2), Uint(1), Uint(0), Uint(9)]))
    assert session.next_out == 3
    assert len(link.queue) == 2
    peer.give(performative(0x13, [Uint(3), Uint(9), Uint(0), Uint(9)]))
    assert session.next_out == 5 and not link.queue


@pytest.mark.parametrize("start", [2**32 - 3, 2**31 - 3])
def test_every_counter_wraps(start: int) -> None:
    """Section 2.5.6: they are serial numbers (RFC 1982)."""
    pair = Pair()
    link, other = pair.sender()
    ours, theirs = link.session, other.session
    ours.delivery = ours.next_out = theirs.next_in = start
    ours.window += start
    theirs.expected = start & (2**32 - 1)
    link.count += start
    link.limit += start
    other.count += start
    other.limit += start
    for number in range(20):
        link.send(b"%d" % number, number)
        pair.pump()
        _, handle, data, _ = pair.server.all("message")[-1]
        assert data == b"%d" % number
        assert other.settle(handle, Outcome.ACCEPTED)
        other.flow(1)
        pair.pump()
    assert pair.client.outcomes == [(number, Outcome.ACCEPTED) for number in range(20)]
    assert link.credit == other.credit == 100


@pytest.mark.parametrize("of_link", [True, False], ids=["a link's", "a session's"])
def test_an_echo_is_answered(of_link: bool) -> None:
    """Section 2.7.4."""
    peer = RawPeer(attach())
    handle = 0 if of_link else None
    ((name, fields),) = peer.give(flow(handle=handle, count=handle, credit=None, echo=True))
    assert name == "flow" and (len(fields) > 4) is of_link


def test_a_new_session_takes_the_links_that_handle_max_does_not_allow() -> None:
    """Section 2.7.2."""
    pair = Pair()
    engine = pair.client.engine
    first = engine.attach_sender("a", Terminus("t"))
    pair.pump()
    first.session.peer_handle_max = 1
    links = [engine.attach_sender(name, Terminus("t")) for name in "bcd"]
    pair.pump()
    assert [link.session is first.session for link in links] == [True, False, False]
    assert all(link.credit == 100 for link in links)


def test_what_this_end_finds_wrong_is_no_refusal_of_the_peer() -> None:
    pair = Pair()
    pair.sender()
    pair.client.engine.receive(b"\0\0\0\1 nonsense")
    assert pair.client.engine.failed
    pair = Pair()
    pair.server.engine.close(Condition("amqp:not-allowed", "no"))
    pair.pump()
    assert not pair.client.engine.failed


def test_the_source_of_an_answer_names_the_outcomes_that_are_understood() -> None:
    """Section 3.5.3."""
    peer = RawPeer()
    ((_, fields), *_) = peer.give(attach(receiver=True))
    assert [str(name) for name in fields[5].value[9].values] == [
        "amqp:accepted:list",
        "amqp:rejected:list",
        "amqp:released:list",
        "amqp:modified:list",
    ]
    assert isinstance(fields[5].value[9].values[0], Symbol)
