"""A client's subscriptions, over links that come and go."""

from __future__ import annotations

from typing import Any

import pytest

from applications import DENIED, GONE, Application
from mqlight.amqp.capabilities import ANONYMOUS_RELAY
from mqlight.amqp.types import Outcome, Terminus
from mqlight.errors import NotPermittedError


@pytest.fixture
def app() -> Application:
    """A protocol without a connection."""
    return Application()


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
    assert app.protocol.subscriptions.active == []


def test_a_subscription_that_the_server_ends_is_resumed_and_not_forgotten(
    app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    app.subscribe()
    app.connect()
    for _ in range(2):
        app.links(receiving=True)[0].detach(condition=DENIED)
        app.pump()
        assert app.links(receiving=True) == []
        app.protocol.subscriptions.resume()
        app.pump()
        assert app.links(receiving=True)[0].credit == 8
    assert app.subscribed == [None] and len(app.wakes) == 2
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
    app.protocol.subscriptions.resume()
    app.pump()
    assert len(app.wakes) == 2 and len(caplog.records) == 1
    app.server.answer = app.server.accept
    app.protocol.subscriptions.resume()
    app.protocol.subscriptions.resume()
    app.pump()
    assert len(app.links(receiving=True)) == 1 and len(app.wakes) == 2


def test_a_subscription_that_lapsed_may_be_given_up(app: Application) -> None:
    subscription = app.subscribe(ttl=60)
    app.connect()
    app.links(receiving=True)[0].detach(condition=DENIED)
    app.pump()
    app.protocol.subscriptions.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    app.protocol.subscriptions.resume()
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
    app.protocol.subscriptions.pause()
    assert app.protocol.subscriptions.holds == 8
    app.pump()
    assert (subscription.granted, link.credit, app.protocol.subscriptions.holds) == (0, 0, 1)
    app.settle()
    app.pump()
    assert (app.protocol.subscriptions.holds, link.credit) == (0, 0)
    assert app.server.outcomes == [("a", Outcome.ACCEPTED)]


def test_what_the_server_sends_instead_of_giving_credit_back_is_held_as_well(app: Application) -> None:
    app.subscribe(credit=2)
    app.connect()
    app.protocol.subscriptions.pause()
    app.give("a", "b")
    assert app.protocol.subscriptions.holds == 2


def test_what_is_not_finished_is_released_and_cannot_be_settled_any_more(app: Application) -> None:
    subscription = app.subscribe()
    app.connect()
    app.give("a", "b", "c")
    app.settle(1)
    app.protocol.subscriptions.pause()
    assert app.protocol.subscriptions.release_held() == 2
    app.pump()
    assert sorted(app.server.outcomes) == [
        ("a", Outcome.RELEASED), ("b", Outcome.ACCEPTED), ("c", Outcome.RELEASED),
    ]  # fmt: skip
    assert not app.settle(0)
    assert subscription.held == 0


def test_without_a_connection_there_is_nothing_to_release(app: Application) -> None:
    app.subscribe()
    assert app.protocol.subscriptions.release_held() == 0


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
    app.protocol.subscriptions.pause()
    app.disconnect()
    app.protocol.give_up(GONE)
    app.connect()
    assert app.links(receiving=True)[0].credit == 8


# Unsubscribing


@pytest.mark.parametrize("forget", [True, False])
def test_to_unsubscribe_says_whether_the_destination_is_to_be_forgotten(app: Application, forget: bool) -> None:
    subscription = app.subscribe(ttl=60)
    app.connect()
    app.protocol.subscriptions.unsubscribe(subscription, forget=forget, on_ended=app.ended.append)
    assert app.ended == []
    app.pump()
    assert app.server.one("detach")[1] is forget
    assert app.ended == [None] and app.protocol.subscriptions.active == []
    app.disconnect()
    app.connect()
    assert app.links(receiving=True) == []


def test_to_unsubscribe_without_a_connection_is_done_at_once(app: Application) -> None:
    subscription = app.subscribe()
    app.protocol.subscriptions.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    assert app.ended == [None]
    app.connect()
    assert app.links(receiving=True) == []


def test_to_unsubscribe_ends_with_the_connection_at_the_latest(app: Application) -> None:
    subscription = app.subscribe()
    app.connect()
    app.protocol.subscriptions.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    app.disconnect()
    assert app.ended == [None]
    app.connect()
    assert app.links(receiving=True) == [] and app.ended == [None]


@pytest.mark.parametrize("connected", [True, False])
def test_a_destination_is_forgotten_over_the_next_connection_if_need_be(app: Application, connected: bool) -> None:
    subscription = app.subscribe(ttl=60)
    app.connect()
    if connected:  # and cut before the server hears of it
        app.protocol.subscriptions.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    app.disconnect()
    if not connected:
        app.protocol.subscriptions.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
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
    app.protocol.subscriptions.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    app.subscribe(ttl=30)
    app.connect()
    assert [name for name, *_ in app.server.heard if name in ("attach", "detach")] == ["attach", "detach", "attach"]
    (link,) = app.links(receiving=True)
    assert (link.source, link.credit) == (Terminus("private:t", timeout=30), 8)


def test_what_could_not_be_forgotten_is_told_when_it_is_given_up(app: Application) -> None:
    subscription = app.subscribe(ttl=60)
    app.protocol.subscriptions.unsubscribe(subscription, forget=True, on_ended=app.ended.append)
    assert app.ended == []
    app.protocol.give_up(GONE)
    assert app.ended == [None]


@pytest.mark.parametrize("forget", [True, False])
def test_the_same_may_be_subscribed_to_again_at_once(app: Application, forget: bool) -> None:
    old = app.subscribe(ttl=60)
    app.connect()
    app.protocol.subscriptions.unsubscribe(old, forget=forget, on_ended=app.ended.append)
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
    app.protocol.subscriptions.unsubscribe(subscription, forget=False, on_ended=None)
    app.pump()
    assert app.server.one("detach")[3] == ["a"]
    assert not app.settle()
