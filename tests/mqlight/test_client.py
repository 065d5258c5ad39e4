"""The MQ Light API against a real server: what an application is told, in which order, and what survives."""

from __future__ import annotations

import queue
import re
import socket
import threading

import pytest

import mqlight
from mqlight import Client
from mqlight.addresses import Addresses
from mqlight.amqp.message import delivery_count
from mqlight.connection import Connection
from processes import start_server, wait_until

WAIT = 30.0
"""Seconds after which something that should happen counts as not happening."""


class Told:
    """Collects what a function of the application was called with. `told(n)` makes one that takes n arguments."""

    def __init__(self):
        self._calls = queue.Queue()

    def __call__(self, *args):
        self._calls.put(args)

    def next(self):
        return self._calls.get(timeout=WAIT)

    def take(self, count):
        return [self.next() for _ in range(count)]

    def nothing(self):
        """Whether it was not called again by now."""
        return self._calls.empty()


class Messages(Told):
    """An `on_message`, of which `next` gives (kind, data, delivery)."""

    def data(self, count):
        return [data for _, data, _ in self.take(count)]


@pytest.fixture
def client(server):
    """Make clients of the server: they are stopped when the test ends."""
    made = []

    def make(client_id=None, service=server.url, **functions):
        started = Told()
        functions.setdefault("on_started", started)
        made.append(Client(service, client_id, **functions))
        if functions["on_started"] is started:
            started.next()
        return made[-1]

    yield make
    for each in made:
        stop(each)


def stop(client):
    stopped = Told()
    client.stop(stopped)
    assert stopped.next() == (client, None)


def subscribe(client, pattern, share=None, **options):
    """Subscribe, and return the messages when the server has agreed."""
    messages, subscribed = Messages(), Told()
    client.subscribe(pattern, share, options, subscribed, messages)
    assert subscribed.next() == (client, None, pattern, share)
    return messages


def send(client, topic, *data, **options):
    """Send at least once, and return when the server has everything."""
    sent = Told()
    for each in data:
        client.send(topic, each, {"qos": 1, **options}, sent)
    for each in data:
        assert sent.next() == (client, None, topic, each, {"qos": 1, "ttl": options.get("ttl")})


# Life


def test_a_client_connects_by_itself_and_tells_each_state_once(server):
    started, states, stopped = Told(), Told(), Told()
    client = Client(server.url, "me", on_started=started, on_state_changed=states)
    assert started.next() == (client,)
    assert client.state == client.get_state() == mqlight.STARTED
    assert client.get_service() == server.url
    assert client.get_id() == "me"
    assert client.stop(stopped) is client
    assert stopped.next() == (client, None)
    assert client.is_stopped()
    assert client.get_service() is None
    told = [mqlight.STARTING, mqlight.STARTED, mqlight.STOPPING, mqlight.STOPPED]
    assert states.take(4) == [(client, state, None) for state in told]
    assert states.nothing()


def test_a_client_without_an_id_is_given_one(client):
    assert re.fullmatch("AUTO_[0-9a-f]{7}", client().get_id())


def test_a_mistake_in_the_constructor_is_raised_and_starts_nothing():
    before = threading.active_count()
    with pytest.raises(mqlight.InvalidArgumentError, match="contains invalid char: :"):
        Client("amqp://127.0.0.1", "a:b")
    with pytest.raises(mqlight.InvalidArgumentError, match="Schema is an unsupported type"):
        Client("ftp://127.0.0.1")
    with pytest.raises(mqlight.InvalidArgumentError, match="colour is not a valid name"):
        Client("amqp://127.0.0.1", security_options={"colour": "red"})
    with pytest.raises(TypeError, match="on_started must be a function"):
        Client("amqp://127.0.0.1", on_started="x")
    assert threading.active_count() == before


def test_a_stopped_client_refuses_requests_and_can_be_started_again(client):
    one = client()
    stop(one)
    for request in (
        lambda: one.send("t", "x"),
        lambda: one.subscribe("t"),
        lambda: one.unsubscribe("t"),
    ):
        with pytest.raises(mqlight.StoppedError, match="not started"):
            request()
    started = Told()
    assert one.start(started) is one
    assert started.next() == (one,)
    messages = subscribe(one, "t")
    send(one, "t", "again")
    assert messages.data(1) == ["again"]


def test_stopping_twice_and_starting_twice_are_harmless(client):
    one, told = client(), Told()
    one.start(told)
    assert told.next() == (one,)
    one.stop(told)
    one.stop(told)
    assert told.take(2) == [(one, None)] * 2
    one.stop(told)
    assert told.next() == (one, None)


def test_a_context_manager_stops_at_its_end(server):
    with Client(server.url) as client:
        assert not client.is_stopped()
    assert client.is_stopped()


def test_stopping_ends_the_subscriptions(client):
    one = client()
    subscribe(one, "t")
    stop(one)
    started = Told()
    one.start(started)
    started.next()
    with pytest.raises(mqlight.UnsubscribedError):
        one.unsubscribe("t")
    subscribe(one, "t")


def test_requests_made_while_starting_are_done_when_started(server):
    messages, sent = Messages(), Told()
    with Client(server.url) as client:
        client.subscribe("t", on_message=messages)
        client.send("t", "early", {"qos": 1}, sent)
        assert messages.data(1) == ["early"]
        assert sent.next()[1] is None


def test_a_second_client_of_the_same_id_replaces_the_first(client):
    states = Told()
    first = client("twin", on_state_changed=states)
    second = client("twin")
    assert [state for _, state, _ in states.take(2)] == [mqlight.STARTING, mqlight.STARTED]
    _, state, error = states.next()
    assert (state, type(error)) == (mqlight.STOPPED, mqlight.ReplacedError)
    assert first.is_stopped()
    assert second.state == mqlight.STARTED


@pytest.mark.parametrize("moment", ["", "threading.main_thread().join()"], ids=["any time", "main ended"])
def test_a_program_lives_while_its_client_is_not_stopped_and_ends_soon_after(server, spawn, moment):
    program = f"""if True:
        import sys, threading, mqlight
        def on_message(kind, data, delivery):
            {moment}
            print("received", data, flush=True)
            client.stop(lambda client, err: print("stopped", flush=True))
        client = mqlight.Client(sys.argv[1], on_started=lambda client: client.send("t", "hello"))
        client.subscribe("t", on_message=on_message)
    """
    process = spawn(["-c", program, server.url])
    process.expect("received hello\nstopped")
    assert process.wait() == 0


# Messages


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
    with pytest.raises(mqlight.NetworkError, match="not started"):
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


# Subscribing


def test_the_same_subscription_twice_is_an_error_and_another_share_is_not(client):
    one = client()
    subscribe(one, "t")
    with pytest.raises(mqlight.SubscribedError, match="client is already subscribed to this address") as caught:
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
    assert str(caught.value) == f"client is not subscribed to this address: {server.url}/private:nope"
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


# Sending


def test_a_backlog_is_told_by_false_and_its_end_by_on_drain(server):
    drained = Told()
    with Client(server.url, on_drain=drained) as client:
        answers = [client.send("t", "x") for _ in range(200)]
        assert answers[0] is False  # it cannot have connected yet
        assert drained.next() == (client,)
        wait_until(lambda: client.send("t", "x"))


def test_a_message_that_is_too_large_is_an_error_for_its_sender_only(client):
    one, sent = client(), Told()
    one.send("t", bytes(17 * 1024 * 1024), {"qos": 1}, sent)
    assert isinstance(sent.next()[1], mqlight.MQLightError)
    send(client(), "t", "small")


def test_what_cannot_be_sent_is_raised_at_once(client):
    one = client()
    with pytest.raises(TypeError, match="Cannot send no data"):
        one.send("t", None)
    with pytest.raises(TypeError, match="Cannot send a object as JSON"):
        one.send("t", object())
    with pytest.raises(mqlight.InvalidArgumentError, match="on_sent must be specified"):
        one.send("t", "x", {"qos": 1})


# When the server goes


def test_a_client_outlives_its_server_and_keeps_its_subscriptions_and_its_messages(spawn):
    first = start_server()
    states, messages, sent, subscribed = Told(), Messages(), Told(), Told()
    try:
        client = Client(first.url, "me", on_state_changed=states)
        client.subscribe("t", options={"qos": 1}, on_subscribed=subscribed, on_message=messages)
        subscribed.next()
        assert [state for _, state, _ in states.take(2)] == [mqlight.STARTING, mqlight.STARTED]
        first.kill()
        _, state, error = states.next()
        assert (state, isinstance(error, mqlight.NetworkError)) == (mqlight.RETRYING, True)
        assert client.send("t", "meanwhile", {"qos": 1}, sent) is False
        second = start_server(port=first.port)
        try:
            assert messages.data(1) == ["meanwhile"]
            assert sent.next()[1] is None
            assert client.state == mqlight.STARTED
        finally:
            stop(client)
            second.close()
    finally:
        first.close()


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
        with pytest.raises(mqlight.NetworkError, match="Client has reconnected since this message was received"):
            confirm()
        stop(client)
    finally:
        first.close()


def test_without_a_server_a_client_retries_until_it_is_stopped():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        states, sent, subscribed = Told(), Told(), Told()
        client = Client(f"amqp://127.0.0.1:{unused.getsockname()[1]}", on_state_changed=states)
        client.send("t", "x", {"qos": 1}, sent)
        client.subscribe("t", on_subscribed=subscribed)
        assert states.next() == (client, mqlight.STARTING, None)
        for _ in range(2):
            _, state, error = states.next()
            assert state == mqlight.RETRYING
            assert isinstance(error, mqlight.NetworkError)
        stop(client)
        assert isinstance(sent.next()[1], mqlight.StoppedError)
        assert isinstance(subscribed.next()[1], mqlight.StoppedError)


def test_the_first_server_of_a_list_that_answers_is_used(client, server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        one = client(service=[f"amqp://127.0.0.1:{unused.getsockname()[1]}", server.url])
        assert one.get_service() == server.url


def test_a_service_function_is_asked_for_the_server(client, server):
    one = client(service=lambda callback: callback(None, [server.url]))
    assert one.get_service() == server.url


def test_a_service_function_is_asked_again_until_it_knows(client, server):
    answers = [(OSError("not yet"), None), (None, server.url)]
    one = client(service=lambda callback: callback(*answers.pop(0)))
    assert one.get_service() == server.url
    assert answers == []


# Functions that fail


def test_a_function_that_raises_is_logged_and_the_next_are_called(client, caplog):
    def failing(*args):
        raise RuntimeError("oops")

    one = client()
    one.subscribe("t", on_subscribed=failing)
    send(one, "t", "x")
    assert any("failed" in each.getMessage() and each.exc_info for each in caplog.records)
