"""The receiving half of a client against a real server: messages, confirmations, subscriptions."""

from __future__ import annotations

import queue
import threading

import pytest

import mqlight
from mqlight import Client
from mqlight.addresses import Addresses
from mqlight.amqp.message import delivery_count
from mqlight.connection import Connection
from processes import start_server, wait_until
from told import WAIT, Messages, Told, send, stop, subscribe


@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_arrives_with_its_real_topic_and_what_is_left_of_its_time(client, qos):
    one = client()
    messages = subscribe(one, "news/+/#", qos=qos)
    sent = Told()
    one.send("news/local/fish", {"word": "fish"}, {"qos": qos, "ttl": 60000}, sent)
    assert sent.next() == (one, None, "news/local/fish", {"word": "fish"}, {"qos": qos, "ttl": 60000})
    kind, data, delivery = messages.next()
    assert (kind, data) == (mqlight.MESSAGE, {"word": "fish"})
    assert 0 < delivery["message"].pop("ttl") <= 60000
    assert delivery == {"message": {"topic": "news/local/fish"}, "destination": {"topic_pattern": "news/+/#"}}


@pytest.mark.parametrize("data", ["text", "", "日本", {"a": [1, None]}, [], 7, True])
def test_every_type_of_data_comes_back_as_it_was_sent(client, data):
    one = client()
    messages = subscribe(one, "t")
    send(one, "t", data)
    assert messages.data(1) == [data]


def test_bytes_come_back_as_a_bytearray(client):
    one = client()
    messages = subscribe(one, "t")
    send(one, "t", b"\x00\xff", bytearray(b""), bytes(100_000))
    received = messages.data(3)
    assert received == [bytearray(b"\x00\xff"), bytearray(), bytearray(100_000)]
    assert {type(each) for each in received} == {bytearray}


@pytest.mark.parametrize("topic", ["/a", "a b", "a%20b?c@d:e", "amqp://x/y", "#/+", "日本"])
def test_every_topic_arrives_as_it_was_sent(client, topic):
    one = client()
    messages = subscribe(one, "#")
    send(one, topic, "x")
    assert messages.next()[2]["message"]["topic"] == topic


def test_a_share_gives_each_message_to_one_member_and_a_private_subscriber_gets_all(client):
    workers = [subscribe(client(), "t", "workers", qos=1, credit=1) for _ in range(2)]
    everything = subscribe(client(), "t")
    send(client(), "t", *range(10))
    assert everything.data(10) == list(range(10))
    got = []
    while len(got) < 10:
        for each in workers:
            while not each.nothing():
                _, data, delivery = each.next()
                assert delivery["destination"] == {"topic_pattern": "t", "share": "workers"}
                got.append(data)
    assert sorted(got) == list(range(10))


@pytest.mark.parametrize("credit", [0, 1, 2**31, 2**32 - 1])
def test_every_credit_that_can_be_asked_for_is_given(client, credit):
    one = client()
    messages = subscribe(one, "t", qos=1, credit=credit)
    send(one, "t", "x", qos=1)
    if credit:
        assert messages.data(1) == ["x"]
    else:
        assert messages.nothing()


def test_functions_are_called_one_at_a_time_and_in_order(client):
    one, seen, running = client(), Told(), []

    def on_message(kind, data, delivery):
        running.append(data)
        assert len(running) == 1
        running.remove(data)
        seen(data)

    one.subscribe("t", on_message=on_message)
    send(one, "t", *range(500))
    assert [data for (data,) in seen.take(500)] == list(range(500))


def test_a_message_is_confirmed_when_on_message_has_returned(client):
    one, seen, go_on = client(), Told(), threading.Event()

    def on_message(kind, data, delivery):
        seen(data)
        go_on.wait(WAIT)

    one.subscribe("t", options={"qos": 1, "credit": 1}, on_message=on_message)
    send(client(), "t", "first", "second")
    assert seen.next() == ("first",)
    assert seen.nothing()
    go_on.set()
    assert seen.next() == ("second",)


def test_a_message_that_is_not_confirmed_comes_again_after_its_client_is_gone(client):
    one = client("consumer")
    messages = subscribe(one, "t", qos=1, auto_confirm=False, ttl=60000)
    send(client(), "t", "done", "left")
    _, data, delivery = messages.next()
    assert data == "done"
    delivery["message"]["confirm_delivery"]()
    assert messages.data(1) == ["left"]
    stop(one)
    again = subscribe(client("consumer"), "t", qos=1, auto_confirm=False, ttl=60000)
    assert again.data(1) == ["left"]
    assert again.nothing()


def test_confirming_gives_credit_again_and_doing_it_twice_is_harmless(client):
    one = client()
    messages = subscribe(one, "t", qos=1, auto_confirm=False, credit=1)
    send(one, "t", 1, 2, 3)
    for number in (1, 2, 3):
        _, data, delivery = messages.next()
        assert data == number
        assert messages.nothing()
        delivery["message"]["confirm_delivery"]()
        delivery["message"]["confirm_delivery"]()


def test_confirm_delivery_is_there_only_where_it_has_a_meaning(client):
    one = client()
    for number, options in enumerate(({"qos": 0, "auto_confirm": False}, {"qos": 1}, {"qos": 0})):
        messages = subscribe(one, f"t{number}", **options)
        send(one, f"t{number}", "x")
        assert "confirm_delivery" not in messages.next()[2]["message"]


def test_confirming_after_the_client_stopped_is_a_network_error(client):
    one = client()
    messages = subscribe(one, "t", qos=1, auto_confirm=False)
    send(one, "t", "x")
    confirm = messages.next()[2]["message"]["confirm_delivery"]
    stop(one)
    with pytest.raises(mqlight.NetworkError, match="the client has stopped"):
        confirm()


def test_a_message_whose_function_failed_comes_again_and_the_client_goes_on(client, caplog):
    one, seen = client(), Told()

    def on_message(kind, data, delivery):
        seen(data)
        if data == "bad" and not failed:
            failed.append(data)
            raise RuntimeError("cannot do that")

    failed = []
    one.subscribe("t", options={"qos": 1}, on_message=on_message)
    send(one, "t", "bad", "good")
    assert seen.take(3) == [("bad",), ("good",), ("bad",)]
    (record,) = [each for each in caplog.records if each.name == "mqlight.inbox"]
    assert record.getMessage() == "on_message for t failed"
    assert record.exc_info is not None


class Stop(BaseException):
    """Such as gevent.Timeout: no Exception, and no request to end the process."""


@pytest.mark.parametrize("error", [RuntimeError, Stop])
@pytest.mark.parametrize("by_hand", [False, True])
def test_an_on_message_that_raises_counts_as_a_delivery_attempt(client, server, error, by_hand):
    one, seen = client(), Told()

    def on_message(kind, data, delivery):
        seen(data)
        raise error("cannot do that")

    subscribed = Told()
    one.subscribe("t", "s", {"qos": 1, "auto_confirm": not by_hand, "ttl": 60000}, subscribed, on_message)
    subscribed.next()
    send(one, "t", "bad")
    assert seen.take(2) == [("bad",), ("bad",)]
    stop(one)
    given = queue.Queue()
    connection = Connection(Addresses.of(server.url), "next")
    connection.start()
    connection.subscribe("t", "s", ttl=60, on_delivery=given.put)
    delivery = given.get(timeout=WAIT)
    assert delivery_count(delivery.message) == 2
    delivery.accept()
    connection.stop()


def test_a_message_that_is_confirmed_in_a_function_that_raises_then_does_not_come_again(client):
    one, seen = client(), Told()

    def on_message(kind, data, delivery):
        seen(data)
        if data == "bad":
            delivery["message"]["confirm_delivery"]()
            raise RuntimeError("after the work is done")
        delivery["message"]["confirm_delivery"]()

    subscribed = Told()
    one.subscribe("t", None, {"qos": 1, "auto_confirm": False, "credit": 1}, subscribed, on_message)
    subscribed.next()
    send(one, "t", "bad", "good")
    assert seen.take(2) == [("bad",), ("good",)]


def test_a_subscription_with_a_time_to_live_collects_while_its_client_is_gone(client):
    one = client("sleeper")
    subscribe(one, "t", qos=1, ttl=60000)
    stop(one)
    send(client(), "t", "meanwhile")
    assert subscribe(client("sleeper"), "t", qos=1, ttl=60000).data(1) == ["meanwhile"]


def test_the_same_subscription_twice_is_an_error_and_another_share_is_not(client):
    one = client()
    subscribe(one, "t")
    with pytest.raises(mqlight.SubscribedError, match="already subscribes to private:t; unsubscribe first") as caught:
        one.subscribe("t")
    assert (caught.value.topic_pattern, caught.value.share) == ("t", None)
    subscribe(one, "t", "share")


def test_after_unsubscribing_nothing_arrives(client):
    one, told = client(), Told()
    messages = subscribe(one, "t")
    rest = subscribe(one, "#")
    assert one.unsubscribe("t", on_unsubscribed=told) is one
    assert told.next() == (one, None, "t", None)
    send(one, "t", "x")
    assert rest.data(1) == ["x"]
    assert messages.nothing()
    subscribe(one, "t")


def test_unsubscribing_leaves_a_destination_to_its_time_to_live_unless_told_to_forget_it(client):
    one = client()
    for options, kept in ((None, ["x"]), ({"ttl": 0}, [])):
        told = Told()
        subscribe(one, "t", qos=1, ttl=60000)
        one.unsubscribe("t", options=options, on_unsubscribed=told)
        told.next()
        send(one, "t", "x")
        again = subscribe(one, "t", qos=1, ttl=60000)
        send(one, "t", "mark")
        assert again.data(1 + len(kept)) == [*kept, "mark"]
        one.unsubscribe("t", options={"ttl": 0}, on_unsubscribed=told)
        told.next()


def test_unsubscribing_from_what_one_does_not_subscribe_to_is_an_error(client, server):
    one = client()
    with pytest.raises(mqlight.UnsubscribedError) as caught:
        one.unsubscribe("nope")
    assert str(caught.value) == "the client does not subscribe to private:nope"
    with pytest.raises(mqlight.UnsubscribedError, match="share:s:nope"):
        one.unsubscribe("nope", "s")


def test_a_pattern_that_the_server_refuses_is_told_and_can_be_asked_again(client):
    one, told = client(), Told()
    for _ in range(2):
        one.subscribe("t", options={"ttl": 2**32 - 1}, on_subscribed=told)
        _, error, pattern, share = told.next()
        assert isinstance(error, mqlight.NotPermittedError)
        assert (pattern, share) == ("t", None)
    assert one.state == mqlight.STARTED


def test_unsubscribing_from_within_on_subscribed_works(client):
    one, told = client(), Told()
    for _ in range(20):
        one.subscribe("t", on_subscribed=lambda c, e, pattern, s: c.unsubscribe(pattern, on_unsubscribed=told))
        assert told.next() == (one, None, "t", None)


def test_a_message_that_was_not_confirmed_before_the_connection_was_lost_cannot_be_confirmed_after_it():
    first = start_server()
    states, messages, subscribed = Told(), Messages(), Told()
    try:
        client = Client(first.url, "me", on_state_changed=states)
        client.subscribe("t", None, {"qos": 1, "auto_confirm": False}, subscribed, messages)
        subscribed.next()
        send(client, "t", "x")
        confirm = messages.next()[2]["message"]["confirm_delivery"]
        first.kill()
        wait_until(lambda: client.state == mqlight.RETRYING)
        with pytest.raises(mqlight.NetworkError, match="the client has reconnected since this message arrived"):
            confirm()
        stop(client)
    finally:
        first.close()
