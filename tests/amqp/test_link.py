"""The rules of section 2.6 for links, as a peer meets them that writes its frames by hand."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair
from amqp.raw import RawPeer, attach, condition_of, flow, performative, target, transfer
from mqlight.amqp import Condition, Outcome
from mqlight.amqp.codec import Uint

DENIED = Condition("amqp:not-allowed", "not for you")


def refusing(*frames: bytes) -> list[tuple[str, list[Any]]]:
    peer = RawPeer()
    peer.end.answer = lambda link: link.refuse(DENIED)
    return peer.give(*frames)


@pytest.mark.parametrize("receiver", [True, False])
def test_a_refused_link_is_attached_with_a_null_terminus_and_then_detached(receiver: bool) -> None:
    """Section 2.6.3: the terminus that this end would have."""
    (attached, fields), (detached, reason) = refusing(attach(receiver=receiver))
    assert (attached, detached) == ("attach", "detach")
    source, other = [*fields, None, None][5:7]
    assert (source if receiver else other) is None
    assert condition_of(reason, 2) == DENIED.name and reason[1] is True


@pytest.mark.parametrize("receiver", [True, False])
@pytest.mark.parametrize("source", [None, "t"])
def test_an_accepted_link_has_both_termini_whatever_the_peer_gave(source: str | None, receiver: bool) -> None:
    """Section 2.6.3."""
    ((_, fields), *_) = RawPeer().give(attach(receiver=receiver, source=None, target=None))
    assert fields[5] is not None and fields[6] is not None


def test_a_sender_that_asks_for_rcv_settle_mode_second_is_answered_first() -> None:
    """Sections 2.7.3 and 2.8.3."""
    ((_, fields), *_) = RawPeer().give(attach(rcv=Uint(1)))
    assert fields[4] == 0


def test_a_receiver_that_asks_for_rcv_settle_mode_second_keeps_it() -> None:
    """Sections 2.7.3 and 2.8.3."""
    ((_, fields), *_) = RawPeer().give(attach(receiver=True, rcv=Uint(1)))
    assert fields[4] == 1


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


def test_a_message_is_sent_before_its_drain_is_answered() -> None:
    peer = RawPeer(attach(receiver=True))
    link = peer.end.all("attach")[0][0]
    peer.give(flow(credit=1, drain=True))
    link.send(b"m")
    link.send(b"without credit")
    link.drain_answered()
    assert [name for name, _ in peer.taken()] == ["transfer"]


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


def test_messages_in_any_number_take_no_decoder() -> None:
    """The usual form of transfers and dispositions has a way of its own: nothing but this test would miss it."""
    pair = Pair(client={"credit": 0}, server={"credit": 5000})
    link, other = pair.sender()
    back, source = pair.receiver(credit=5000)
    for sender, receiver, sending, receiving in (
        (link, other, pair.client, pair.server),
        (source, back, pair.server, pair.client),
    ):
        for number in range(300):
            sender.send(b"m", number)
            sender.send(b"m", settled=True)
        before = sending.engine.decoded + receiving.engine.decoded
        pair.pump()
        for _, handle, _, settled in receiving.all("message"):
            if not settled:
                receiver.settle(handle, Outcome.ACCEPTED)
        pair.pump()
        assert len(receiving.messages) == 600 and len(sending.outcomes) == 300
        # The first frame of either kind of a session is taken apart; then the session is known.
        assert sending.engine.decoded + receiving.engine.decoded - before <= 2


def test_a_link_that_receives_cannot_send() -> None:
    pair = Pair()
    link, _ = pair.receiver("private:x")
    with pytest.raises(ValueError, match="private:x"):
        link.send(b"m")


def test_a_handler_of_its_own_is_told_what_happens_on_a_link() -> None:
    pair = Pair()
    heard: list[tuple[Any, ...]] = []

    class Handler:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: heard.append((name, *arguments[1:]))

    link, other = pair.sender()
    link.handler = Handler()
    other.handler = Handler()
    link.send(b"m", "token")
    pair.pump()
    other.settle(heard[0][1], Outcome.RELEASED)
    other.flow(1)
    pair.pump()
    other.detach()
    pair.pump()
    assert heard == [
        ("on_message", 0, b"m", False),
        ("on_outcome", "token", Outcome.RELEASED, None),
        ("on_credit",),
        ("on_detach", True, None),
        ("on_detach", True, None),
    ]
    assert pair.client.messages == pair.server.messages == [] and pair.client.all("detach") == []


def test_output_and_unfinished_messages_are_counted() -> None:
    pair = Pair()
    link, _ = pair.sender()
    assert pair.client.engine.pending() == 0
    link.send(bytes(1000), settled=True)
    assert 1000 < pair.client.engine.pending() < 1100
    data = pair.client.output()
    pair.client.sent(500)
    assert pair.client.engine.pending() == len(data) - 500
    pair.server.receive(data[:500])
    assert pair.server.engine.unfinished() == 500
    pair.pump()
    assert pair.client.engine.pending() == pair.server.engine.unfinished() == 0


@pytest.mark.parametrize("size", [0, 511])
def test_a_max_frame_size_under_512_is_refused(size: int) -> None:
    """Section 2.7.1."""
    from amqp.pair import End
    from mqlight.amqp.frames import AMQP_HEADER

    server = End(server=True)
    server.engine.receive(AMQP_HEADER + performative(0x10, ["c", None, Uint(size)]))
    (condition,) = server.one("close")
    assert condition.name == "amqp:invalid-field" and "512" in condition.description


@pytest.mark.parametrize("idle", [250, 1, 60_000])
def test_a_heartbeat_comes_within_the_peers_idle_time_out_whatever_it_is(idle: int) -> None:
    """Section 2.4.5."""
    from amqp.pair import End
    from mqlight.amqp.frames import AMQP_HEADER

    server = End(server=True, heartbeat=0)
    server.engine.receive(AMQP_HEADER + performative(0x10, ["c", None, None, None, Uint(idle)]))
    while data := server.engine.output():
        server.engine.sent(len(data))
    now = 100.0
    for _ in range(5):
        due = server.engine.tick(now)
        assert due is not None and due - now <= max(idle / 2, 1) / 1000 + 0.002
        now = due
        server.engine.tick(now)
        data = server.engine.output()
        assert data == bytes.fromhex("0000000802000000")
        server.engine.sent(len(data))
