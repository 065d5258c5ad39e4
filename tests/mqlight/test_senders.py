"""Messages of a client, over links that come and go."""

from __future__ import annotations

import pytest

from applications import DENIED, GONE, Application
from mqlight.amqp.capabilities import ANONYMOUS_RELAY, RELEASE_UNROUTED
from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Outcome
from mqlight.outgoing import Outgoing
from mqlight.senders import EXPIRED


@pytest.fixture
def app() -> Application:
    """A protocol without a connection."""
    return Application()


# Sending


def test_what_is_sent_early_waits_for_the_connection(app: Application) -> None:
    app.send("a")
    assert app.counts == (1, 1)
    app.connect()
    assert app.server.messages == [b"a"] and app.counts == (1, 0)
    app.answer()
    assert app.told == [("a", Outcome.ACCEPTED)] and app.counts == (0, 0)


def test_what_is_sent_without_credit_waits_for_it(app: Application) -> None:
    app.connect(credit=2)
    for body in "abcd":
        app.send(body)
    app.pump()
    assert app.server.messages == [b"a", b"b"] and app.counts == (4, 2)
    app.links(receiving=False)[0].flow(1)
    app.pump()
    assert app.server.messages == [b"a", b"b", b"c"] and app.counts == (4, 1)


def test_a_server_that_drains_gets_what_waits_and_the_rest_of_its_credit_back(app: Application) -> None:
    """AMQP 1.0 section 2.6.7."""
    app.connect(credit=2)
    for body in "abc":
        app.send(body)
    app.pump()
    (link,) = app.links(receiving=False)
    link.limit += 3
    link.stop_flow()
    app.pump()
    assert app.server.messages == [b"a", b"b", b"c"] and link.credit == 0
    app.send("d")
    app.pump()
    assert len(app.server.messages) == 3
    link.flow(1)
    app.pump()
    assert app.server.messages[3:] == [b"d"]


def test_the_time_to_live_of_a_message_goes_by_while_it_waits(app: Application) -> None:
    def send(ttl: int) -> None:
        message = encode(Message(body="x", to="t", ttl=ttl))
        app.protocol.senders.send(Outgoing("t", message, False, False, lambda *told: app.outcomes.append(("x", *told))))

    for ttl in 1000, 60_000:
        send(ttl)
    app.now = 2.5
    app.connect()
    send(1000)
    app.pump()
    ((_, outcome, condition),) = app.outcomes
    assert outcome is Outcome.RELEASED and condition is not None and condition.name == EXPIRED
    assert [decode(bytes(data)).ttl for _, _, data, *_ in app.server.all("message")] == [57_500, 1000]
    app.disconnect()
    app.now = 10.0
    app.connect()
    assert [decode(bytes(data)).ttl for _, _, data, *_ in app.server.all("message")] == [50_000]
    assert [outcome for _, outcome, _ in app.outcomes] == [Outcome.RELEASED] * 2
    assert app.protocol.senders.outstanding == 1 and app.protocol.senders.waiting == 0


def test_room_is_told_when_what_waited_has_gone_out_and_when_it_is_settled(app: Application) -> None:
    app.connect()
    app.send("a")
    app.pump()
    before = app.rooms
    assert before
    app.answer()
    assert app.rooms > before


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.RELEASED])
def test_the_outcome_is_the_servers(app: Application, outcome: Outcome) -> None:
    app.connect()
    app.send("a")
    app.pump()
    app.answer(outcome)
    assert app.outcomes == [("a", outcome, None)]


def test_a_rejection_comes_with_its_reason(app: Application) -> None:
    app.connect()
    app.send("a")
    app.pump()
    app.answer(Outcome.REJECTED, DENIED)
    assert app.outcomes == [("a", Outcome.REJECTED, DENIED)]


def test_what_is_sent_at_most_once_counts_as_accepted_when_it_is_sent(app: Application) -> None:
    app.send("a", settled=True)
    assert app.outcomes == []
    app.connect()
    assert app.told == [("a", Outcome.ACCEPTED)] and app.counts == (0, 0)
    assert app.server.one("message")[3] is True


def test_a_message_without_a_listener_for_its_outcome_is_sent_as_well(app: Application) -> None:
    app.connect()
    app.protocol.senders.send(Outgoing("t", b"m", False, False, None))
    app.pump()
    app.answer()
    assert app.counts == (0, 0)


# On which link


def test_where_there_is_a_relay_one_link_takes_every_topic(app: Application) -> None:
    app.connect(ANONYMOUS_RELAY)
    for topic in "abc":
        app.send(topic, topic)
    app.pump()
    (link,) = app.links(receiving=False)
    assert link.target.address is None
    assert app.server.messages == [b"a", b"b", b"c"]


def test_where_there_is_none_each_topic_has_its_link(app: Application) -> None:
    app.connect("SOMETHING-ELSE")
    for topic in "aba":
        app.send(topic, topic)
    app.pump()
    assert [(link.target.address, data) for link, _, data, _ in app.server.all("message")] == [
        ("a", b"a"),
        ("a", b"a"),
        ("b", b"b"),
    ]
    assert len(app.links(receiving=False)) == 2
    app.answer()
    assert sorted(app.told) == [("a", Outcome.ACCEPTED)] * 2 + [("b", Outcome.ACCEPTED)]


def test_the_next_connection_may_have_a_relay_where_the_last_one_had_none(app: Application) -> None:
    app.connect("NO-RELAY")
    app.send("a", "x")
    app.pump()
    app.disconnect()
    app.connect(ANONYMOUS_RELAY)
    assert [link.target.address for link in app.links(receiving=False)] == [None]
    assert app.server.messages == [b"a"]


def test_who_wants_to_know_that_nobody_listens_asks_for_it(app: Application) -> None:
    app.connect()
    app.send("a", mandatory=True)
    app.send("b")
    app.pump()
    asked = {data: link.target.capabilities for link, _, data, _ in app.server.all("message")}
    assert asked == {b"a": (RELEASE_UNROUTED,), b"b": ()}


# Over reconnects


def test_what_was_not_settled_is_sent_again_in_its_order_and_before_what_came_later(app: Application) -> None:
    app.connect(credit=3)
    for body in "abcde":
        app.send(body)
    app.pump()
    link, handle, *_ = app.server.all("message")[1]
    link.settle(handle, Outcome.ACCEPTED)
    app.pump()
    app.disconnect()
    app.send("f")
    assert app.counts == (5, 5)
    app.connect()
    assert app.server.messages == [b"a", b"c", b"d", b"e", b"f"]
    app.answer()
    assert app.told == [(body, Outcome.ACCEPTED) for body in "bacdef"] and app.counts == (0, 0)


def test_what_never_left_because_the_link_was_not_there_yet_is_sent_later(app: Application) -> None:
    app.connect()
    app.send("a")
    app.send("b")
    app.disconnect()
    app.connect()
    assert app.server.messages == [b"a", b"b"]


def test_what_was_sent_at_most_once_is_not_sent_again(app: Application) -> None:
    app.connect()
    app.send("a", settled=True)
    app.send("b")
    app.pump()
    app.disconnect()
    app.connect()
    assert app.server.messages == [b"b"]
    app.answer()
    assert app.told == [("a", Outcome.ACCEPTED), ("b", Outcome.ACCEPTED)]


def test_the_order_is_kept_over_many_reconnects(app: Application) -> None:
    expected = []
    for number in range(5):
        app.send(f"{number}")
        expected.append(b"%d" % number)
        app.connect(credit=number)
        assert app.server.messages == expected[:number]
        app.disconnect()
    app.connect()
    assert app.server.messages == expected
    assert app.outcomes == []


def test_each_outcome_is_told_exactly_once_whatever_happens(app: Application) -> None:
    app.connect(credit=2)
    for body in "abc":
        app.send(body)
    app.pump()
    app.answer()
    app.disconnect()
    app.connect()
    app.answer()
    app.disconnect()
    app.protocol.give_up(GONE)
    app.protocol.give_up(GONE)
    assert app.told == [(body, Outcome.ACCEPTED) for body in "abc"]


def test_when_it_is_given_up_every_message_is_told_so(app: Application) -> None:
    app.connect(credit=1)
    for body in "abc":
        app.send(body)
    app.pump()
    app.protocol.give_up(GONE)
    assert app.outcomes == [(body, Outcome.RELEASED, GONE) for body in "abc"]
    assert app.counts == (0, 0)
    app.connect()
    assert app.server.messages == []


# A link that the server takes away


def test_a_link_lost_with_a_reason_rejects_what_was_on_it(app: Application) -> None:
    app.connect(credit=1)
    app.send("a")
    app.send("b")
    app.pump()
    app.links(receiving=False)[0].detach(condition=DENIED)
    app.pump()
    assert app.outcomes == [(body, Outcome.REJECTED, DENIED) for body in "ab"]
    assert app.counts == (0, 0)


def test_a_message_that_the_server_would_not_take_fails_alone(app: Application) -> None:
    app.connect(max_message_size=100)
    app.send("a")
    app.send("b" * 101)
    app.send("c" * 100)
    app.pump()
    (body, outcome, condition) = app.outcomes[0]
    assert (body[0], outcome) == ("b", Outcome.REJECTED)
    assert condition is not None and condition.name == "amqp:link:message-size-exceeded"
    assert "101 bytes" in condition.description and "no more than 100" in condition.description
    app.answer()
    assert app.told[1:] == [("a", Outcome.ACCEPTED), ("c" * 100, Outcome.ACCEPTED)] and app.counts == (0, 0)


def test_a_link_that_is_refused_rejects_what_waits_for_it(app: Application) -> None:
    app.begin("NO-RELAY")
    app.server.answer = lambda link: link.refuse(DENIED)
    app.pump()
    app.send("a", "forbidden")
    app.pump()
    assert app.outcomes == [("a", Outcome.REJECTED, DENIED)] and app.protocol.connected


def test_a_link_lost_without_a_reason_is_tried_again(app: Application) -> None:
    app.connect(credit=1)
    app.send("a")
    app.send("b")
    app.pump()
    app.server.heard.clear()
    app.server.credit = 10
    app.links(receiving=False)[0].detach(closed=False)
    app.pump()
    assert app.server.messages == [b"a", b"b"] and app.counts == (2, 0)
    app.answer()
    assert app.told == [("a", Outcome.ACCEPTED), ("b", Outcome.ACCEPTED)]


def test_a_session_that_the_server_ends_is_begun_again(app: Application) -> None:
    app.subscribe()
    app.connect()
    app.send("a")
    app.pump()
    app.server.heard.clear()
    app.server.engine.links()[0].session.end(None)
    app.pump()
    assert app.server.messages == [b"a"]
    assert app.links(receiving=True)[0].credit == 8
    app.answer()
    assert app.told == [("a", Outcome.ACCEPTED)]
