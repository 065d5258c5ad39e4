"""The sending half of a client: outcomes, errors, and the end of a backlog."""

from __future__ import annotations

import socket
import threading

import pytest

import mqlight
from amqp.pair import End
from mqlight import Client
from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Condition, Outcome
from mqlight.arguments import SendOptions
from mqlight.connection import Connection
from mqlight.outbox import Outbox
from processes import wait_until
from told import WAIT, Told, send, stop


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
    with pytest.raises(TypeError, match="data is None; give text"):
        one.send("t", None)
    with pytest.raises(TypeError, match="data of type object cannot be sent as JSON"):
        one.send("t", object())
    with pytest.raises(mqlight.InvalidArgumentError, match="on_sent is None"):
        one.send("t", "x", {"qos": 1})


class Answering:
    """A server on a port of its own that settles every message in one way, as soon as it `may_begin`."""

    def __init__(self, outcome, condition, *, begins=True):
        self.may_begin = threading.Event()
        if begins:
            self.may_begin.set()
        self._end = End(server=True)
        self._end.on_message = lambda link, handle, data, settled: link.settle(handle, outcome, condition)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(WAIT)
        self.url = f"amqp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._thread.join(WAIT)
        self._listener.close()

    def _serve(self):
        self.may_begin.wait(WAIT)
        connection, _ = self._listener.accept()
        connection.settimeout(WAIT)
        with connection:
            while data := connection.recv(65536):
                self._end.receive(data)
                while output := self._end.output():
                    connection.sendall(output)
                    self._end.sent(len(output))


@pytest.mark.parametrize(
    ("outcome", "condition", "kind", "text"),
    [
        (Outcome.RELEASED, None, mqlight.MQLightError, "the server released the message"),
        (Outcome.REJECTED, Condition("amqp:not-allowed", "no"), mqlight.NotPermittedError, "no"),
        (Outcome.REJECTED, Condition("amqp:link:message-size-exceeded", "big"), mqlight.NotPermittedError, "big"),
        (Outcome.REJECTED, Condition("amqp:unauthorized-access", "who?"), mqlight.SecurityError, "who?"),
        (Outcome.REJECTED, Condition("x:y", "z"), mqlight.MQLightError, "z"),
        (Outcome.REJECTED, Condition("x:y"), mqlight.MQLightError, "the server rejected the message: x:y"),
    ],
)
def test_an_outcome_is_an_error_of_its_kind_with_the_servers_words(outcome, condition, kind, text):
    with Answering(outcome, condition) as server, Client(server.url) as client:
        told = Told()
        client.send("t", "data", {"qos": 1}, told)
        error = told.next()[1]
    assert type(error) is kind and str(error) == text


def test_a_message_that_never_left_ends_with_its_client():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client, told = Client(f"amqp://127.0.0.1:{port}"), Told()
    client.send("t", "data", {"qos": 1}, told)
    stop(client)
    error = told.next()[1]
    assert isinstance(error, mqlight.StoppedError) and "the message was not sent" in str(error)


def test_the_end_of_a_backlog_is_told_once_and_no_refused_message_counts():
    with Answering(Outcome.ACCEPTED, None, begins=False) as server:
        connection = Connection(Addresses.of(server.url), "sender")
        drained, sent = Told(), Told()
        outbox = Outbox("client", connection, connection.lane(1), drained)

        def send():
            return outbox.send("t", encode(Message(to="t")), "data", SendOptions(1, None), sent)

        with pytest.raises(mqlight.StoppedError):
            send()
        connection.start()
        try:
            assert [send(), send()] == [False, False]
            server.may_begin.set()
            assert drained.next() == ("client",) and len(sent.take(2)) == 2
            assert send() and sent.next()[1] is None
        finally:
            connection.stop()
    assert drained.nothing()
