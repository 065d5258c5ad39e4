"""The client's session against a scripted server: pure, so connections come and go when a test says so."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import End, pump
from mqlight.amqp.capabilities import ANONYMOUS_RELAY, RELEASE_UNROUTED
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Condition, Handle, Outcome, Terminus
from mqlight.backoff import Backoff
from mqlight.errors import MQLightError, NetworkError, NotPermittedError, ReplacedError, SecurityError, error_of
from mqlight.protocol import EXPIRED, ClientProtocol
from mqlight.sender import Outgoing
from mqlight.subscription import Subscription

GONE = Condition("amqp:connection:forced", "the client was stopped")
DENIED = Condition("amqp:not-allowed", "not for you")


class Application:
    """A session, the server that it is connected to, and what the application was told."""

    def __init__(self) -> None:
        self.states: list[tuple[bool, MQLightError | None]] = []
        self.rooms = self.lapses = 0
        self.now = 0.0
        self.outcomes: list[tuple[str, Outcome, Condition | None]] = []
        self.subscribed: list[Exception | None] = []
        self.ended: list[Exception | None] = []
        self.got: list[tuple[Subscription, Link, Handle, bytes, bool]] = []
        self.protocol = ClientProtocol(
            on_state=lambda *state: self.states.append(state), on_room=self.room, on_lapse=self.lapse,
            clock=lambda: self.now,
        )  # fmt: skip
        self.server: End
        self.engine: Engine

    def room(self) -> None:
        self.rooms += 1

    def lapse(self) -> None:
        self.lapses += 1

    def begin(self, *offered: str, **options: Any) -> End:
        """A connection whose first bytes are not sent yet."""
        self.server = End(server=True, offered=offered, **options)
        self.engine = Engine(self.protocol, server=False, container_id="c")
        self.protocol.begin(self.engine)
        return self.server

    def connect(self, *offered: str, **options: Any) -> End:
        self.begin(*(offered or (ANONYMOUS_RELAY,)), **options)
        self.pump()
        return self.server

    def pump(self) -> None:
        pump(self.engine, self.server)

    def disconnect(self) -> None:
        self.engine.end_of_input()
        self.protocol.end()

    def send(self, body: str, topic: str = "t", *, settled: bool = False, mandatory: bool = False) -> None:
        def told(outcome: Outcome, condition: Condition | None) -> None:
            self.outcomes.append((body, outcome, condition))

        self.protocol.send(Outgoing(topic, body.encode(), settled, mandatory, told))

    def answer(self, outcome: Outcome = Outcome.ACCEPTED, condition: Condition | None = None) -> None:
        """The server settles every message that it holds."""
        for link, handle, *_ in self.server.all("message"):
            link.settle(handle, outcome, condition)
        self.pump()

    def subscribe(self, pattern: str = "t", share: str | None = None, **options: Any) -> Subscription:
        options = {"qos": 1, "ttl": 0, "credit": 8, **options}

        def on_message(link: Link, handle: Handle, data: bytes, settled: bool) -> None:
            self.got.append((subscription, link, handle, data, settled))

        subscription = Subscription(
            pattern, share, on_message=on_message, on_subscribed=self.subscribed.append, **options
        )
        self.protocol.subscribe(subscription)
        return subscription

    def settle(self, place: int = 0, outcome: Outcome | None = Outcome.ACCEPTED) -> bool:
        subscription, link, handle, *_ = self.got[place]
        return self.protocol.settle(subscription, link, handle, outcome, None)

    def links(self, *, receiving: bool) -> list[Link]:
        """The server's ends of the links that the client receives, or else sends, on."""
        return [link for link in self.server.engine.links() if link.receiver is not receiving]

    def give(self, *bodies: str, place: int = 0, settled: bool = False) -> None:
        """The server sends on a link that the client receives on."""
        link = self.links(receiving=True)[place]
        for body in bodies:
            link.send(body.encode(), body, settled)
        self.pump()

    @property
    def told(self) -> list[tuple[str, Outcome]]:
        return [(body, outcome) for body, outcome, _ in self.outcomes]

    @property
    def counts(self) -> tuple[int, int]:
        return self.protocol.outstanding, self.protocol.waiting


@pytest.fixture
def app() -> Application:
    """A session without a connection."""
    return Application()


# Connecting


def test_a_session_is_connected_when_the_server_has_greeted_it(app: Application) -> None:
    app.begin()
    assert app.states == [] and not app.protocol.connected
    app.pump()
    assert app.states == [(True, None)] and app.protocol.connected


def test_the_end_of_a_connection_is_told_with_its_reason(app: Application) -> None:
    app.connect()
    app.server.engine.close(Condition("amqp:link:stolen", "ServerContext_Takeover"))
    app.pump()
    assert isinstance(app.states[-1][1], ReplacedError)
    assert len(app.states) == 2


def test_a_cut_connection_is_a_network_error(app: Application) -> None:
    app.connect()
    app.engine.end_of_input()
    connected, error = app.states[-1]
    assert not connected and type(error) is NetworkError


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


def test_the_time_to_live_of_a_message_goes_by_while_it_waits(app: Application) -> None:
    def send(ttl: int) -> None:
        message = encode(Message(body="x", to="t", ttl=ttl))
        app.protocol.send(Outgoing("t", message, False, False, lambda *told: app.outcomes.append(("x", *told))))

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
    assert app.protocol.outstanding == 1 and app.protocol.waiting == 0


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
    app.protocol.send(Outgoing("t", b"m", False, False, None))
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


# Subscriptions


@pytest.mark.parametrize(
    ("options", "address"), [({}, "private:t"), ({"share": "s"}, "share:s:t"), ({"pattern": "a:b/+"}, "private:a:b/+")]
)
def test_a_subscription_is_attached_as_mq_light_does(app: Application, options: dict[str, Any], address: str) -> None:
    app.subscribe(ttl=60, **options)
    app.connect()
    (link,) = app.links(receiving=True)
    assert link.name == address and link.source == link.target == Terminus(address, timeout=60)
    assert app.subscribed == [None]


@pytest.mark.parametrize("qos", [0, 1])
def test_the_quality_of_service_is_the_links(app: Application, qos: int) -> None:
    app.connect()
    app.subscribe(qos=qos)
    app.pump()
    assert app.links(receiving=True)[0].settles_at_once is (qos == 0)


def test_a_subscription_that_is_refused_is_told_why_and_is_over(app: Application) -> None:
    app.begin(ANONYMOUS_RELAY)
    app.server.answer = lambda link: link.refuse(DENIED)
    app.subscribe()
    app.pump()
    (error,) = app.subscribed
    assert isinstance(error, NotPermittedError) and "not for you" in str(error)
    assert app.protocol.subscriptions == []


def test_a_subscription_that_the_server_ends_is_resumed_and_not_forgotten(
    app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    app.subscribe()
    app.connect()
    for _ in range(2):
        app.links(receiving=True)[0].detach(condition=DENIED)
        app.pump()
        assert app.links(receiving=True) == []
        app.protocol.resume()
        app.pump()
        assert app.links(receiving=True)[0].credit == 8
    assert app.subscribed == [None] and app.lapses == 2
    assert "private:t" in caplog.text and "not for you" in caplog.text


def test_a_subscription_that_is_refused_after_a_reconnect_is_resumed(
    app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    app.subscribe()
    app.connect()
    app.disconnect()
    app.begin(ANONYMOUS_RELAY)
    app.server.answer = lambda link: link.refuse(DENIED)
    app.pump()
    app.protocol.resume()
    app.pump()
    assert app.lapses == 2 and len(caplog.records) == 1
    app.server.answer = app.server.accept
    app.protocol.resume()
    app.protocol.resume()
    app.pump()
    assert len(app.links(receiving=True)) == 1 and app.lapses == 2


def test_a_subscription_that_lapsed_may_be_given_up(app: Application) -> None:
    subscription = app.subscribe(ttl=60)
    app.connect()
    app.links(receiving=True)[0].detach(condition=DENIED)
    app.pump()
    app.protocol.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    app.protocol.resume()
    app.pump()
    assert app.ended == [None] and app.links(receiving=True) == []


def test_a_subscription_detached_without_a_reason_is_attached_again(app: Application) -> None:
    app.subscribe()
    app.connect()
    app.links(receiving=True)[0].detach(closed=False)
    app.pump()
    (link,) = app.links(receiving=True)
    assert link.credit == 8
    assert app.subscribed == [None]


def test_subscriptions_are_restored_with_their_credit(app: Application) -> None:
    first, second = app.subscribe("a", ttl=60, credit=3), app.subscribe("b", "s", credit=5)
    app.connect()
    app.give("one")
    app.disconnect()
    assert (first.held, first.granted, second.granted) == (0, 0, 0)
    app.connect()
    links = app.links(receiving=True)
    assert [(link.name, link.credit) for link in links] == [("private:a", 3), ("share:s:b", 5)]
    assert app.subscribed == [None, None]


def test_subscriptions_are_restored_before_what_is_sent(app: Application) -> None:
    """A reply must find its way."""
    app.send("question")
    app.subscribe("answer")
    app.connect()
    names = [arguments[0].receiver for arguments in app.server.all("attach")]
    assert names == [False, True]


def test_a_link_that_the_server_attaches_is_refused(app: Application) -> None:
    app.connect()
    link = app.server.engine.attach_sender("s", Terminus("t"))
    app.pump()
    assert link.closed and app.server.one("detach")[2].name == "amqp:not-allowed"
    assert app.protocol.connected


# Messages


def test_messages_are_handed_on_and_settled(app: Application) -> None:
    subscription = app.subscribe()
    app.connect()
    app.give("a", "b")
    assert [data for *_, data, _ in app.got] == [b"a", b"b"]
    assert (subscription.held, subscription.granted) == (2, 6)
    assert app.settle(1, Outcome.RELEASED) and app.settle(0)
    app.pump()
    assert app.server.outcomes == [("b", Outcome.RELEASED), ("a", Outcome.ACCEPTED)]
    assert subscription.held == 0


def test_credit_is_given_back_in_lots(app: Application) -> None:
    app.subscribe(credit=8)
    app.connect()
    app.give(*"abcdef")
    (link,) = app.links(receiving=True)
    credit = []
    for place in range(6):
        app.settle(place)
        app.pump()
        credit.append(link.credit)
    assert credit == [2, 2, 2, 6, 6, 6]


def test_a_subscription_with_a_credit_of_one_gets_one_at_a_time(app: Application) -> None:
    app.subscribe(credit=1)
    app.connect()
    (link,) = app.links(receiving=True)
    for place, body in enumerate("abc"):
        assert link.credit == 1
        app.give(body)
        assert link.credit == 0
        app.settle(place)
        app.pump()


def test_never_more_is_here_than_the_credit(app: Application) -> None:
    subscription = app.subscribe(credit=4)
    app.connect()
    (link,) = app.links(receiving=True)
    done = 0
    for number in range(50):
        if link.credit:
            app.give(str(number))
        assert subscription.held + subscription.granted <= 4 and subscription.held + link.credit <= 4
        if number % 3 and done < len(app.got):
            app.settle(done)
            done += 1
            app.pump()
    assert done > 20


def test_a_subscription_without_credit_gets_nothing(app: Application) -> None:
    app.subscribe(credit=0)
    app.connect()
    assert app.links(receiving=True)[0].credit == 0
    assert app.subscribed == [None]


def test_messages_that_came_settled_make_room_when_they_are_done(app: Application) -> None:
    subscription = app.subscribe(qos=0, credit=2)
    app.connect()
    app.give("a", "b", settled=True)
    assert (subscription.held, subscription.granted) == (2, 0)
    assert app.settle(0, None) and app.settle(1, None)
    app.pump()
    assert app.links(receiving=True)[0].credit == 2


def test_what_came_over_a_connection_that_is_gone_cannot_be_settled(app: Application) -> None:
    subscription = app.subscribe()
    app.connect()
    app.give("a")
    app.disconnect()
    assert not app.settle()
    app.connect()
    assert not app.settle()
    assert (subscription.held, subscription.granted) == (0, 8)
    app.pump()
    assert app.server.outcomes == []


# Pausing


def test_to_pause_takes_the_credit_back_and_lets_what_is_here_be_finished(app: Application) -> None:
    subscription = app.subscribe()
    app.connect()
    (link,) = app.links(receiving=True)
    app.server.on_credit = lambda link: link.drain_answered()  # type: ignore[method-assign]
    app.give("a")
    app.protocol.pause()
    assert app.protocol.holds == 8
    app.pump()
    assert (subscription.granted, link.credit, app.protocol.holds) == (0, 0, 1)
    app.settle()
    app.pump()
    assert (app.protocol.holds, link.credit) == (0, 0)
    assert app.server.outcomes == [("a", Outcome.ACCEPTED)]


def test_what_the_server_sends_instead_of_giving_credit_back_is_held_as_well(app: Application) -> None:
    app.subscribe(credit=2)
    app.connect()
    app.protocol.pause()
    app.give("a", "b")
    assert app.protocol.holds == 2


def test_what_is_not_finished_is_released_and_cannot_be_settled_any_more(app: Application) -> None:
    subscription = app.subscribe()
    app.connect()
    app.give("a", "b", "c")
    app.settle(1)
    app.protocol.pause()
    assert app.protocol.release_held() == 2
    app.pump()
    assert sorted(app.server.outcomes) == [
        ("a", Outcome.RELEASED), ("b", Outcome.ACCEPTED), ("c", Outcome.RELEASED),
    ]  # fmt: skip
    assert not app.settle(0)
    assert subscription.held == 0


def test_without_a_connection_there_is_nothing_to_release(app: Application) -> None:
    app.subscribe()
    assert app.protocol.release_held() == 0


def test_a_subscription_is_ready_while_the_server_may_send_or_has_us_at_work(app: Application) -> None:
    subscription = app.subscribe(credit=1)
    assert not subscription.ready
    app.begin()
    assert not subscription.ready
    app.pump()
    assert subscription.ready
    app.give("a")
    assert (subscription.granted, subscription.ready) == (0, True)
    app.disconnect()
    assert not subscription.ready


def test_a_paused_session_is_no_longer_paused_over_its_next_connection(app: Application) -> None:
    app.subscribe()
    app.connect()
    app.protocol.pause()
    app.disconnect()
    app.protocol.give_up(GONE)
    app.connect()
    assert app.links(receiving=True)[0].credit == 8


# Unsubscribing


@pytest.mark.parametrize("forget", [True, False])
def test_to_unsubscribe_says_whether_the_destination_is_to_be_forgotten(app: Application, forget: bool) -> None:
    subscription = app.subscribe(ttl=60)
    app.connect()
    app.protocol.unsubscribe(subscription, forget=forget, on_ended=app.ended.append)
    assert app.ended == []
    app.pump()
    assert app.server.one("detach")[1] is forget
    assert app.ended == [None] and app.protocol.subscriptions == []
    app.disconnect()
    app.connect()
    assert app.links(receiving=True) == []


def test_to_unsubscribe_without_a_connection_is_done_at_once(app: Application) -> None:
    subscription = app.subscribe()
    app.protocol.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    assert app.ended == [None]
    app.connect()
    assert app.links(receiving=True) == []


def test_to_unsubscribe_ends_with_the_connection_at_the_latest(app: Application) -> None:
    subscription = app.subscribe()
    app.connect()
    app.protocol.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    app.disconnect()
    assert app.ended == [None]
    app.connect()
    assert app.links(receiving=True) == [] and app.ended == [None]


@pytest.mark.parametrize("connected", [True, False])
def test_a_destination_is_forgotten_over_the_next_connection_if_need_be(app: Application, connected: bool) -> None:
    subscription = app.subscribe(ttl=60)
    app.connect()
    if connected:  # and cut before the server hears of it
        app.protocol.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    app.disconnect()
    if not connected:
        app.protocol.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    app.connect()
    assert app.server.one("attach")[0].source == Terminus("private:t", timeout=0)
    assert app.server.one("detach")[1] is True
    assert app.ended == [None] and app.links(receiving=True) == []
    app.disconnect()
    app.connect()
    assert app.server.all("attach") == [] and app.ended == [None]


def test_a_destination_is_forgotten_before_the_same_is_subscribed_to_again(app: Application) -> None:
    subscription = app.subscribe(ttl=60)
    app.connect()
    app.disconnect()
    app.protocol.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    app.subscribe(ttl=30)
    app.connect()
    assert [name for name, *_ in app.server.heard if name in ("attach", "detach")] == ["attach", "detach", "attach"]
    (link,) = app.links(receiving=True)
    assert (link.source, link.credit) == (Terminus("private:t", timeout=30), 8)


def test_what_could_not_be_forgotten_is_told_when_it_is_given_up(app: Application) -> None:
    subscription = app.subscribe(ttl=60)
    app.protocol.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    assert app.ended == []
    app.protocol.give_up(GONE)
    assert app.ended == [None]


@pytest.mark.parametrize("forget", [True, False])
def test_the_same_may_be_subscribed_to_again_at_once(app: Application, forget: bool) -> None:
    old = app.subscribe(ttl=60)
    app.connect()
    app.protocol.unsubscribe(old, forget=forget, on_ended=app.ended.append)
    new = app.subscribe(ttl=30)
    app.pump()
    assert app.ended == [None] and app.subscribed == [None, None]
    (link,) = app.links(receiving=True)
    assert (link.source, link.credit) == (Terminus("private:t", timeout=30), 8)
    app.give("m")
    assert app.got[0][0] is new


def test_what_is_held_while_it_is_unsubscribed_goes_back_to_the_server(app: Application) -> None:
    subscription = app.subscribe()
    app.connect()
    app.give("a")
    app.protocol.unsubscribe(subscription, forget=False, on_ended=None)
    app.pump()
    assert app.server.one("detach")[3] == ["a"]
    assert not app.settle()


# Waiting for the next attempt


def test_the_pause_between_attempts_doubles_up_to_its_longest() -> None:
    backoff = Backoff(shortest=0.5, longest=3.0)
    assert [backoff.next(1.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_pause_is_a_part_of_that_by_chance() -> None:
    backoff = Backoff(shortest=1.0, longest=100.0)
    assert [backoff.next(chance) for chance in (0.0, 0.25, 0.5)] == [0.0, 0.5, 2.0]


def test_success_makes_the_pause_short_again() -> None:
    backoff = Backoff(shortest=1.0, longest=100.0)
    for _ in range(5):
        backoff.next(1.0)
    backoff.reset()
    assert backoff.next(1.0) == 1.0


def test_the_pause_stays_in_bounds_for_ever() -> None:
    backoff = Backoff()
    pauses = [backoff.next(1.0) for _ in range(5000)]
    assert all(0 < pause <= 30 for pause in pauses) and pauses == sorted(pauses)


# What conditions mean


@pytest.mark.parametrize(
    ("name", "description", "kind"),
    [
        ("amqp:link:stolen", "", ReplacedError),
        ("ServerContext_Takeover", "ServerContext_Takeover: again", ReplacedError),
        ("amqp:internal-error", "x ServerContext_Takeover y", ReplacedError),
        ("amqp:not-allowed", "no", NotPermittedError),
        ("amqp:precondition-failed", "no", NotPermittedError),
        ("amqp:not-implemented", "no", NotPermittedError),
        ("amqp:internal-error", "ServerContext_InvalidSourceTimeout: too long", NotPermittedError),
        ("amqp:unauthorized-access", "no", SecurityError),
        ("amqp:internal-error", "the sasl exchange failed", SecurityError),
        ("amqp:internal-error", "SSL handshake", SecurityError),
        ("amqp:not-allowed", "reason 2035 : not authorised", SecurityError),
        ("amqp:connection:forced", "shutting down", NetworkError),
        ("amqp:internal-error", "oh dear", NetworkError),
        ("amqp:resource-limit-exceeded", "too many", NetworkError),
        ("", "", NetworkError),
    ],
)
def test_a_condition_is_an_error_of_the_application(name: str, description: str, kind: type[MQLightError]) -> None:
    error = error_of(Condition(name, description))
    assert type(error) is kind
    assert description in str(error)


def test_no_condition_is_a_network_error() -> None:
    assert type(error_of(None)) is NetworkError
