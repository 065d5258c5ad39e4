"""The sessions of a connection by their channels, and the links on them (sections 2.5.1 and 2.7.2)."""

from __future__ import annotations

import proton
import pytest

from amqp.pair import End, Pair, pump
from amqp.raw import RawPeer, attach, begin, condition_of, performative
from mqlight.amqp import Terminus
from mqlight.amqp.frames import AMQP_HEADER
from mqlight.amqp.values import Uint, Ushort


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


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


def test_a_peer_may_not_attach_more_links_than_its_own_handle_max_lets_us_answer() -> None:
    """Section 2.7.2."""
    peer = RawPeer(performative(0x11, [None, Uint(0), Uint(9), Uint(9), Uint(1)], channel=1))
    peer.give(attach("a", 0, channel=1), attach("b", 1, channel=1))
    ((name, fields),) = peer.give(attach("c", 2, channel=1))
    assert name == "end" and condition_of(fields) == "amqp:not-allowed"
    assert "handle-max of 1" in fields[0].value[1] and not peer.end.engine.closed
    assert len(peer.end.all("attach")) == 2


def test_a_handle_that_is_free_again_may_be_used_again_under_a_handle_max() -> None:
    peer = RawPeer(performative(0x11, [None, Uint(0), Uint(9), Uint(9), Uint(0)], channel=1))
    for name in "abc":
        answers = peer.give(attach(name, channel=1), performative(0x16, [Uint(0), True], channel=1))
        assert [answer for answer, _ in answers] == ["attach", "flow", "detach"]


def test_a_client_with_a_session_for_each_link_and_one_name_for_all() -> None:
    """IBM's Messenger attaches so: ``sender-xxx``, on session after session."""
    server = End(server=True)
    connection, transport = proton.Connection(), proton.Transport()
    connection.container = "messenger"
    connection.open()
    transport.bind(connection)
    senders, receivers = [], []
    for number in range(3):
        session = connection.session()
        session.open()
        sender = session.sender("sender-xxx")
        sender.target.address = f"t{number}"
        sender.open()
        senders.append(sender)
        session = connection.session()
        session.open()
        name = f"private:t{number}"
        receiver = session.receiver(name)
        receiver.source.address = receiver.target.address = name
        receiver.open()
        receiver.flow(1)
        receivers.append(receiver)

    class Peer:
        def output(self) -> bytes:
            return bytes(transport.peek(transport.pending()) or b"") if transport.pending() > 0 else b""

        def sent(self, size: int) -> None:
            transport.pop(size)

        def receive(self, data: bytes) -> None:
            transport.push(data)

    peer = Peer()
    pump(peer, server)
    assert len(server.engine.links()) == 6
    for number, sender in enumerate(senders):
        sender.delivery(f"tag{number}")
        sender.send(b"to %d" % number)
        sender.advance()
    pump(peer, server)
    assert [(link.target.address, data) for link, _, data, _ in server.all("message")] == [
        ("t0", b"to 0"),
        ("t1", b"to 1"),
        ("t2", b"to 2"),
    ]
    for link in server.engine.links():
        if not link.receiver:
            link.send(b"answer", link)
    senders[1].close()
    senders[2].session.close()
    pump(peer, server)
    assert [(link.target.address, closed) for link, closed, *_ in server.all("detach")] == [("t1", True), ("t2", False)]
    assert [receiver.queued for receiver in receivers] == [1, 1, 1]
    assert len(server.engine.links()) == 4


@pytest.mark.parametrize("closed", [True, False])
def test_a_name_may_be_used_again_before_its_detach_is_answered(pair: Pair, closed: bool) -> None:
    old, _ = pair.receiver("private:t", credit=1)
    old.detach(closed=closed)
    new = pair.client.engine.attach_receiver("private:t", Terminus("private:t"), at_most_once=False)
    new.flow(7)
    pair.pump()
    assert pair.client.one("detach")[0] is old
    assert pair.client.engine.links() == [new] and new.source.address == "private:t"
    assert [name for name, *_ in pair.server.heard] == ["open", "attach", "credit", "detach", "attach", "credit"]
    (other,) = pair.server.engine.links()
    other.send(b"m", 1)
    pair.pump()
    assert (pair.client.one("message")[0], new.credit) == (new, 6)


def test_links_come_in_the_order_of_their_attachment(pair: Pair) -> None:
    links = [pair.sender(f"t{n}")[0] for n in range(5)]
    assert pair.client.engine.links() == links


def test_a_channel_is_used_again_when_its_session_has_ended() -> None:
    peer = RawPeer(begin(5))
    assert peer.give(performative(0x17, [], channel=5)) == [("end", [])]
    ((name, fields),) = peer.give(begin(9))
    assert name == "begin" and fields[0] == Ushort(9)
    peer.give(attach(channel=9))
    assert peer.end.engine.links()[0].session.channel == 1


def test_a_name_that_is_in_use_is_made_another() -> None:
    engine = Pair().client.engine
    links = [engine.attach_sender("l", Terminus("t")) for _ in range(3)]
    assert [link.name for link in links] == ["l", "l~2", "l~3"]
    assert engine.attach_receiver("l", Terminus("t"), at_most_once=False).name == "l"


def test_links_share_a_session(pair: Pair) -> None:
    links = [pair.sender(name)[0] for name in "ab"] + [pair.receiver("c")[0]]
    assert {link.session.channel for link in links} == {0} and len({id(link.session) for link in links}) == 1


@pytest.mark.parametrize(
    ("frame", "condition", "words"),
    [
        (begin(), "amqp:decode-error", "a session began twice"),
        (performative(0x11, [Ushort(3), Uint(0), Uint(1), Uint(1)], channel=1), "amqp:decode-error", "began twice"),
        (performative(0x11, [Ushort(0), Uint(0), Uint(1), Uint(1)], channel=1), "amqp:decode-error", "began twice"),
        (attach(channel=1), "amqp:decode-error", "channel 1, which has no session"),
        (begin(2), "amqp:connection:framing-error", "channel 2, and channel-max is 1"),
    ],
    ids=["twice", "an answer to nothing", "a second answer", "no session", "over channel-max"],
)
def test_a_session_that_cannot_be_closes_the_connection(frame: bytes, condition: str, words: str) -> None:
    """Sections 2.5.1 and 2.7.2."""
    peer = RawPeer(max_sessions=2)
    ((name, fields),) = peer.give(frame)
    assert name == "close" and condition_of(fields) == condition
    assert words in peer.end.one("close")[0].description


def test_a_peer_may_not_begin_more_sessions_than_its_own_channel_max_lets_us_answer() -> None:
    server = End(server=True)
    opened = performative(0x10, ["c", None, None, Ushort(0)])
    server.engine.receive(AMQP_HEADER + opened + begin(0))
    assert not server.engine.closed
    server.engine.receive(begin(1))
    assert "channel-max of 0" in server.one("close")[0].description
