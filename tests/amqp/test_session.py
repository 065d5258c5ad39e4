"""The rules of sections 2.5 to 2.7 for sessions, as a peer meets them that writes its frames by hand."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair
from amqp.raw import (
    ACCEPTED,
    RawPeer,
    attach,
    begin,
    condition_of,
    flow,
    performative,
    receiving_peer,
    settled,
    source,
    target,
    transfer,
)
from mqlight.amqp import Condition, Outcome
from mqlight.amqp.codec import Described, Uint, Ulong

DETACH = performative(0x16, [Uint(7), True])


def names(answers: list[tuple[str, list[Any]]]) -> list[str]:
    return [name for name, _ in answers]


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


@pytest.mark.parametrize("address", ["t", "another"])
@pytest.mark.parametrize("receives", [False, True])
@pytest.mark.parametrize("channel", [0, 1], ids=["the same session", "another session"])
def test_an_attach_steals_the_link_of_its_name(channel: int, receives: bool, address: str) -> None:
    """Section 2.6.1."""
    peer = RawPeer(attach(receiver=receives), begin(1))
    (old, *_) = peer.end.all("attach")[0]
    new = attach(handle=5, receiver=receives, source=source(address), target=target(address), channel=channel)
    answers = peer.give(new)
    assert names(answers)[:2] == ["detach", "attach"]
    assert condition_of(answers[0][1], 2) == "amqp:link:stolen" and answers[0][1][1] is True
    assert peer.end.one("detach")[0] is old and old.closed
    assert names(peer.give(performative(0x16, [Uint(0), True]))) == []
    (link,) = peer.end.engine.links()
    assert link is not old and not link.closed
    if not receives:
        first = [transfer(0, handle=5)] if channel == 0 else []
        peer.give(*first)
        assert len(peer.end.messages) == len(first)


def test_links_of_one_name_in_both_directions_are_two_links() -> None:
    """Section 2.6.1: a link is known by its name and its direction."""
    peer = RawPeer(attach("l", 0), attach("l", 1, receiver=True))
    assert len(peer.end.engine.links()) == 2 and peer.end.all("detach") == []


def test_what_a_stolen_link_sent_unsettled_is_told_before_the_new_link_is_attached() -> None:
    """Sections 2.6.1 and 2.6.13."""
    peer, link = receiving_peer()
    link.send(b"m", "token")
    peer.taken()
    peer.give(attach(handle=4, receiver=True), settled(0))
    names_heard = [name for name, *_ in peer.end.heard]
    assert names_heard[-2:] == ["detach", "attach"] and peer.end.one("detach")[3] == ["token"]
    assert peer.end.outcomes == []


def test_proton_messengers_senders_stand_on_sessions_of_their_own_with_one_name() -> None:
    """It gives each of them the name ``sender-xxx``: only one to the same address steals."""
    peer = RawPeer(attach("sender-xxx"), begin(1), begin(2))
    peer.give(attach("sender-xxx", target=target("other"), channel=1))
    assert len(peer.end.engine.links()) == 2 and peer.end.all("detach") == []
    peer.give(attach("sender-xxx", target=target("other"), channel=2))
    assert len(peer.end.all("detach")) == 1


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


# Transfers and links


def test_a_message_without_credit_ends_its_link() -> None:
    """Section 2.6.7."""
    peer = RawPeer(attach(), credit=1)
    peer.give(transfer(0))
    ((name, fields),) = peer.give(transfer(1))
    assert name == "detach" and condition_of(fields, 2) == "amqp:link:transfer-limit-exceeded"
    assert len(peer.end.messages) == 1 and not peer.end.engine.closed


def test_a_peer_that_resumes_a_link_is_told_that_nothing_is_unsettled_here() -> None:
    """Sections 2.6.13 and 2.7.3: without a map in our answer its sender begins again with each delivery."""
    peer = RawPeer()
    unsettled = {b"tag": ACCEPTED, b"other": None}
    for receives in (False, True):
        ((name, fields), *_) = peer.give(attach(f"l{receives}", int(receives), receiver=receives, unsettled=unsettled))
        assert name == "attach" and [*fields, *[None] * 9][7:9] == [None, None]
    peer.give(transfer(0, b"again", tag=b"tag"))
    assert peer.end.messages == [b"again"]


def test_an_unsettled_map_that_is_none_closes_the_connection() -> None:
    ((name, fields),) = RawPeer().give(attach(unsettled=[b"tag"]))
    assert name == "close" and condition_of(fields) == "amqp:decode-error"


def test_a_link_that_was_detached_is_attached_again_by_its_name() -> None:
    """Section 2.6.5: the terminus is its owner's to keep; what was held is released when the link is detached."""
    peer = RawPeer(attach(), transfer(0))
    answers = peer.give(performative(0x16, [Uint(0)]))
    assert names(answers) == ["disposition", "detach"] and len(answers[1][1]) == 1, "it is not closed"
    assert peer.end.one("detach")[1] is False
    assert names(peer.give(attach(), transfer(1, b"after"))) == ["attach", "flow"]
    assert peer.end.messages == [b"m", b"after"]


# Settlement


def test_what_is_held_when_the_peer_detaches_is_released_before_the_detach_is_answered() -> None:
    """Section 2.6.13."""
    peer = RawPeer(attach())
    peer.give(transfer(0), transfer(1))
    answers = peer.give(performative(0x16, [Uint(0), True]))
    assert names(answers) == ["disposition", "detach"]
    assert answers[0][1][1:3] == [0, 1] and answers[0][1][4] == Described(Ulong(0x26), [])


# Windows


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


def test_what_this_end_finds_wrong_is_no_refusal_of_the_peer() -> None:
    pair = Pair()
    pair.sender()
    pair.client.engine.receive(b"\0\0\0\1 nonsense")
    assert pair.client.engine.failed
    pair = Pair()
    pair.server.engine.close(Condition("amqp:not-allowed", "no"))
    pair.pump()
    assert not pair.client.engine.failed
