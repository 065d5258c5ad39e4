"""The end of a connection, and the state that its links share."""

from __future__ import annotations

import pytest

from amqp.pair import End, Pair
from amqp.raw import RawPeer, attach, performative, transfer
from mqlight.amqp import Condition
from mqlight.amqp.connection import MOST_DISCARDED, Connection
from mqlight.amqp.frames import PeerError
from mqlight.amqp.values import Uint

DENIED = Condition("amqp:not-allowed", "not for you")


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


@pytest.mark.parametrize(("who", "hears"), [("client", "server"), ("server", "client")])
def test_each_end_may_close_and_say_why(pair: Pair, who: str, hears: str) -> None:
    pair.sender()
    closing, told = getattr(pair, who), getattr(pair, hears)
    closing.engine.close(DENIED)
    pair.pump()
    assert told.all("close") == [[DENIED]]
    assert closing.all("close") == [[None]]
    assert pair.client.engine.closed and pair.server.engine.closed
    assert pair.client.all("detach") == pair.server.all("detach") == []


def test_at_the_end_links_are_closed_and_still_listed_with_what_was_not_settled(pair: Pair) -> None:
    link, _ = pair.sender()
    link.send(b"m", "token")
    pair.client.engine.end_of_input()
    assert link.closed and pair.client.engine.links() == [link]
    assert list(link.unsettled.values()) == ["token"]


def test_an_end_without_a_close_frame_is_told(pair: Pair) -> None:
    pair.server.engine.end_of_input()
    (condition,) = pair.server.one("close")
    assert condition.name == "amqp:connection:forced"


def test_the_end_is_told_once(pair: Pair) -> None:
    pair.client.engine.close()
    pair.pump()
    for end in (pair.client, pair.server):
        end.engine.end_of_input()
        end.engine.end_of_input()
        end.receive(b"more")
        assert end.engine.tick(1e6) is None
        assert len(end.all("close")) == 1


def test_after_a_close_both_ends_are_done_when_their_sockets_end(pair: Pair) -> None:
    pair.client.engine.close()
    pair.pump()
    for end in (pair.client, pair.server):
        assert end.output() == b""
        end.engine.end_of_input()
        assert end.engine.done


def test_a_connection_is_not_done_while_it_lives(pair: Pair) -> None:
    assert not pair.client.engine.done


def test_bytes_that_the_socket_has_not_taken_are_counted(pair: Pair) -> None:
    link, _ = pair.sender()
    engine = pair.client.engine
    assert engine.pending() == 0
    link.send(b"m" * 1000)
    assert engine.pending() == len(pair.client.output()) > 1000
    pair.client.sent(600)
    assert engine.pending() == len(pair.client.output())


def test_frames_that_are_ignored_are_counted_and_their_number_is_bounded() -> None:
    connection = Connection(End(server=True), 0)
    for _ in range(MOST_DISCARDED):
        connection.discard()
    with pytest.raises(PeerError, match=f"session window exceeded: {MOST_DISCARDED} frames"):
        connection.discard()


def test_ignored_frames_are_counted_anew_when_the_peer_has_answered_the_end_of_their_link() -> None:
    """A connection may live for years, and lose link after link."""
    peer = RawPeer(attach(), credit=1)
    peer.give(transfer(0), transfer(1), transfer(2), transfer(3))
    assert peer.end.engine.discarded == 3
    peer.give(performative(0x16, [Uint(0), True]))
    assert peer.end.engine.discarded == 0


def test_the_handler_hears_of_the_end_once_when_all_links_are_closed_already(pair: Pair) -> None:
    link, _ = pair.sender()
    seen = []
    pair.client.on_close = lambda condition: seen.append((link.closed, condition))  # type: ignore[method-assign]
    pair.client.engine.over(DENIED)
    pair.client.engine.over(None)
    assert seen == [(True, DENIED)]
