"""The MQ Light API against a real server: what an application is told, in which order, and what survives."""

from __future__ import annotations

import re
import socket
import threading

import pytest

import mqlight
from mqlight import Client
from processes import start_server
from told import Messages, Told, send, stop, subscribe

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
    with pytest.raises(mqlight.InvalidArgumentError, match="has the character ':'"):
        Client("amqp://127.0.0.1", "a:b")
    with pytest.raises(mqlight.InvalidArgumentError, match="has the scheme .*; use amqp or amqps"):
        Client("ftp://127.0.0.1")
    with pytest.raises(mqlight.InvalidArgumentError, match="has no option 'colour'"):
        Client("amqp://127.0.0.1", security_options={"colour": "red"})
    with pytest.raises(TypeError, match="on_started is of type str; give a function"):
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
        with pytest.raises(mqlight.StoppedError, match="the client is stopped"):
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
