"""The engine: two of them, joined in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import proton
import pytest

from amqp.pair import End, Pair, disposition, pump, transfer
from mqlight.amqp import Condition, Link, Outcome, Terminus
from mqlight.amqp.output import CHUNK
from mqlight.amqp.values import Described, Ulong
from mqlight.server.sasl import Identity

DENIED = Condition("amqp:not-allowed", "not for you")


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


# Opening


def test_each_end_learns_who_the_other_is() -> None:
    pair = Pair(
        client={"container_id": "clé", "hostname": "example.org"},
        server={"container_id": "srv", "properties": {"product": "p"}, "offered": ["A", "B"]},
    )
    (client,) = pair.server.one("open")
    (server,) = pair.client.one("open")
    assert (client.container_id, client.hostname, client.properties) == ("clé", "example.org", {})
    assert (server.container_id, server.offered) == ("srv", ("A", "B"))
    assert server.properties == {"product": "p"}


def test_an_end_that_offers_nothing_says_nothing(pair: Pair) -> None:
    (server,) = pair.client.one("open")
    assert (server.properties, server.offered, server.desired) == ({}, (), ())


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


# Attaching


def test_a_sender_attaches_and_its_target_comes_back(pair: Pair) -> None:
    link, other = pair.sender("a/tøpic")
    assert (link.local, link.receiver, link.credit) == (True, False, 100)
    assert (other.local, other.receiver, other.name) == (False, True, "to-a/tøpic")
    assert other.target == link.target == Terminus("a/tøpic")
    assert other.source == link.source == Terminus("to-a/tøpic")


def test_a_receiver_attaches_with_source_and_target_alike(pair: Pair) -> None:
    source = Terminus("share:s:a/#", timeout=60)
    link = pair.client.engine.attach_receiver("share:s:a/#", source, at_most_once=False)
    pair.pump()
    (other,) = pair.server.one("attach")
    assert not other.receiver
    assert other.source == other.target == replace(link.source, outcomes=()) == link.target == source


@pytest.mark.parametrize("at_most_once", [True, False])
def test_a_receiver_says_whether_it_settles_at_once(pair: Pair, at_most_once: bool) -> None:
    assert pair.receiver(at_most_once=at_most_once)[1].settles_at_once is at_most_once


def test_a_sender_says_whether_it_settles_at_once_or_nothing(pair: Pair) -> None:
    modes = [pair.sender(f"t{mode}", at_most_once=mode)[1].settles_at_once for mode in (True, False, None)]
    assert modes == [True, False, False]


def test_capabilities_travel_and_come_back(pair: Pair) -> None:
    link = pair.client.engine.attach_sender("l", Terminus("t", capabilities=("x", "y")))
    pair.pump()
    assert pair.server.one("attach")[0].target.capabilities == ("x", "y")
    assert link.target.capabilities == ("x", "y")


def test_an_anonymous_sender_has_a_target_without_address(pair: Pair) -> None:
    link, other = pair.sender(None)
    assert other.target.address is None
    assert link.credit == 100
    link.send(b"m", 1)
    pair.pump()
    assert pair.server.messages == [b"m"]


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


def test_links_come_in_the_order_of_their_attachment(pair: Pair) -> None:
    links = [pair.sender(f"t{n}")[0] for n in range(5)]
    assert pair.client.engine.links() == links


# Messages


def send_and_settle(pair: Pair, outcome: Outcome, condition: Condition | None = None) -> Any:
    """What the sender hears when the receiver settles so."""
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


ACCEPTED, RELEASED, RECEIVED = (Described(Ulong(code), []) for code in (0x24, 0x26, 0x23))
MODIFIED = Described(Ulong(0x27), [])
UNDELIVERABLE = Described(Ulong(0x27), [True, True])


def answered_with(pair: Pair, *answers: tuple[bool, Any]) -> list[Any]:
    """Return what the sender hears when the receiver says these: whether it is settled, and the state."""
    link, other = pair.sender()
    link.send(b"m", "token")
    pair.pump()
    for settled, state in answers:
        disposition(other, pair.server.one("message")[1], settled, state)
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


def test_a_message_arrives_in_the_smallest_of_frames() -> None:
    pair = Pair(server={"max_frame_size": 512})
    link, _ = pair.sender()
    data = bytes(range(256)) * 400
    link.send(data, 1)
    frame = pair.client.output()
    assert int.from_bytes(frame[:4], "big") <= 512
    pair.pump()
    assert pair.server.messages == [data]


def test_a_message_arrives_byte_by_byte(pair: Pair) -> None:
    link, _ = pair.sender()
    link.send(b"hello", 1)
    for byte in pair.client.output():
        assert pair.server.messages == []
        pair.server.receive(bytes([byte]))
    assert pair.server.messages == [b"hello"]


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


def test_an_aborted_message_never_arrives(pair: Pair) -> None:
    """Section 2.7.5."""
    link, _ = pair.sender()
    transfer(link, b"half", 0, more=True)
    pair.pump()
    assert pair.server.engine.unfinished() == 4
    transfer(link, b"", None, aborted=True)
    pair.pump()
    assert pair.server.engine.unfinished() == 0
    link.send(b"whole", 1)
    pair.pump()
    assert pair.server.messages == [b"whole"]


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


# The end


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


# Time


def test_a_silent_peer_counts_as_gone_when_its_time_is_over() -> None:
    pair = Pair(server={"heartbeat": 2.0})
    due = pair.server.engine.tick(100.0)
    assert due is not None and 100.0 < due <= 102.1
    pair.server.engine.tick(101.0)
    assert not pair.server.engine.closed
    pair.server.engine.tick(103.0)
    (condition,) = pair.server.one("close")
    assert condition.name == "amqp:resource-limit-exceeded"


def test_an_idle_peer_that_sends_heartbeats_stays() -> None:
    pair = Pair(server={"heartbeat": 2.0})
    for now in range(100, 130):
        pair.client.engine.tick(now)
        pair.server.engine.tick(now)
        pair.pump()
    assert not pair.server.engine.closed


def test_a_heartbeat_is_an_empty_frame() -> None:
    pair = Pair(server={"heartbeat": 2.0})
    due = pair.client.engine.tick(100.0)
    assert due is not None and 100.0 < due <= 101.1
    pair.client.engine.tick(due)
    assert pair.client.output() == bytes.fromhex("00000008 02000000")


def test_without_a_heartbeat_nobody_is_ever_called_again(pair: Pair) -> None:
    assert pair.client.engine.tick(100.0) is None
    assert pair.client.engine.tick(1e6) is None
    assert not pair.client.engine.closed
