"""Links: attached, answered and refused (sections 2.6.3 and 2.7.3)."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair
from amqp.raw import RawPeer, attach, frames_of
from memory import kept
from mqlight.amqp import Condition, Link, Terminus
from mqlight.amqp.link import OVERHEAD
from mqlight.amqp.values import Described, Symbol, Uint, Ulong

DENIED = Condition("amqp:not-allowed", "not for you")


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


def test_a_sender_attaches_and_its_target_comes_back(pair: Pair) -> None:
    link, other = pair.sender("a/tøpic")
    assert (link.local, link.receiver, link.credit) == (True, False, 100)
    assert (other.local, other.receiver, other.name) == (False, True, "to-a/tøpic")
    assert other.target == link.target == Terminus("a/tøpic")
    assert other.source == link.source == Terminus("to-a/tøpic")


@pytest.mark.parametrize("at_most_once", [True, False])
def test_a_receiver_says_whether_it_settles_at_once(pair: Pair, at_most_once: bool) -> None:
    assert pair.receiver(at_most_once=at_most_once)[1].settles_at_once is at_most_once


def test_a_sender_says_whether_it_settles_at_once_or_nothing(pair: Pair) -> None:
    modes = [pair.sender(f"t{mode}", at_most_once=mode)[1].settles_at_once for mode in (True, False, None)]
    assert modes == [True, False, False]


def test_the_answer_to_an_attach_is_told(pair: Pair) -> None:
    link, _ = pair.sender()
    assert pair.client.one("attach") == [link]


@pytest.mark.parametrize("kind", ["sender", "receiver"])
def test_a_refused_link_is_gone_with_the_reason(pair: Pair, kind: str) -> None:
    pair.server.answer = lambda link: link.refuse(DENIED)
    link, _ = getattr(pair, kind)()
    assert pair.client.one("detach") == [link, True, DENIED, []]
    assert link.closed
    assert pair.client.engine.links() == pair.server.engine.links() == []


def test_the_answer_that_precedes_a_refusal_names_no_source(pair: Pair) -> None:
    pair.server.answer = lambda link: link.refuse(DENIED)
    pair.client.on_attach = lambda link: pair.client.heard.append(("address", link.source.address))  # type: ignore[method-assign]
    pair.receiver()
    assert pair.client.one("address") == [None]


def test_nothing_is_heard_of_a_link_that_was_refused(pair: Pair) -> None:
    pair.server.answer = lambda link: link.refuse(DENIED)
    link = pair.client.engine.attach_sender("l", Terminus("t"))
    link.send(b"without credit", 1)
    pair.pump()
    assert [name for name, *_ in pair.server.heard] == ["open", "attach"]


def test_many_links_leave_nothing_behind(pair: Pair) -> None:
    for _ in range(2):
        engine = pair.client.engine
        links = [engine.attach_sender(f"s{n}", Terminus(f"t{n}")) for n in range(500)]
        links += [engine.attach_receiver(f"r{n}", Terminus(f"t{n}"), at_most_once=False) for n in range(500)]
        pair.pump()
        assert len(pair.server.engine.links()) == len(engine.links()) == 1000
        for link in links:
            link.detach()
        pair.pump()
        assert pair.server.engine.links() == engine.links() == []
    assert len(pair.client.all("detach")) == len(pair.server.all("detach")) == 2000


def refusing(*frames: bytes) -> list[tuple[str, list[Any]]]:
    peer = RawPeer()
    peer.end.answer = lambda link: link.refuse(DENIED)
    return peer.give(*frames)


def test_a_sender_that_asks_for_rcv_settle_mode_second_is_answered_first() -> None:
    """Sections 2.7.3 and 2.8.3."""
    ((_, fields), *_) = RawPeer().give(attach(rcv=Uint(1)))
    assert fields[4] == 0


def test_a_receiver_that_asks_for_rcv_settle_mode_second_keeps_it() -> None:
    """Sections 2.7.3 and 2.8.3."""
    ((_, fields), *_) = RawPeer().give(attach(receiver=True, rcv=Uint(1)))
    assert fields[4] == 1


def test_a_link_is_attached_once_and_on_the_first_handle_that_is_free() -> None:
    peer = RawPeer(attach("a", 7), attach("b", 8))
    link, other = peer.end.engine.links()
    assert (link.handle, other.handle) == (0, 1)
    link.accept()
    assert peer.taken() == []


def test_the_largest_message_is_told_to_a_sender_only() -> None:
    peer = RawPeer(max_message_size=1000)
    ((_, sends), *_) = peer.give(attach("a", 0))
    ((_, receives), *_) = peer.give(attach("b", 1, receiver=True))
    assert sends[10] == 1000 and len(receives) <= 10


def test_a_refused_link_has_a_handle_until_the_peer_detaches() -> None:
    peer = RawPeer()
    peer.end.answer = lambda link: link.refuse(Condition("amqp:not-allowed", "no"))
    assert [name for name, _ in peer.give(attach())] == ["attach", "detach"]


def test_a_pair_of_links_has_one_name_and_says_that_it_is_a_pair(pair: Pair) -> None:
    """Link Pair 1.0."""
    pair.client.engine.attach_pair("pair", "$management")
    found = [fields for name, fields in frames_of(pair.client.output()) if name == "attach"]
    assert [(fields[0], fields[2], fields[13]) for fields in found] == [
        ("pair", False, {"paired": True}),
        ("pair", True, {"paired": True}),
    ]


def test_a_link_is_not_attached_to_a_session_that_is_over(pair: Pair) -> None:
    session = pair.sender()[0].session
    session.end(None)
    pair.client.sent(len(pair.client.output()))
    late = Link(session, "late", False, True, pair.client, 0)
    late.attach(-1, Terminus("late"), Terminus("t"))
    assert pair.client.output() == b"" and late.handle == -1 and not late.attached_here


def test_the_handle_of_a_link_that_is_gone_is_used_again(pair: Pair) -> None:
    first, second = pair.sender("first")[0], pair.sender("second")[0]
    assert (first.handle, second.handle) == (0, 1)
    first.detach()
    pair.pump()
    assert [pair.sender(name)[0].handle for name in ("third", "fourth")] == [0, 2]


def test_a_sender_knows_how_much_of_a_message_fits_into_a_frame() -> None:
    pair = Pair(server={"max_frame_size": 512})
    assert pair.sender()[0].room == 512 - OVERHEAD
    assert pair.receiver()[0].room == -1


@pytest.mark.parametrize("refused", [False, True])
def test_a_terminus_that_a_peer_gave_is_not_kept_behind_the_answer(refused: bool) -> None:
    """A frame of 60 kB may hold values that take a hundred times its memory."""
    peer = RawPeer()
    if refused:
        peer.end.answer = lambda link: link.refuse(Condition("amqp:not-allowed"))
    made = {Symbol(f"{number:x}"): None for number in range(8000)}
    target = Described(Ulong(0x29), ["t", None, None, None, None, made])
    frames = [attach(f"l{number}", number, target=target) for number in range(5)]
    assert kept(lambda: peer.give(*frames)) < sum(map(len, frames))
    assert len(peer.end.engine.links()) == 5
