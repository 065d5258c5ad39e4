"""The messages for one subscription inside of the process."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from macaque.http import destination
from macaque.http.local import LocalTransport
from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Outcome
from processes import wait_until

BOUND = 10.0
Sender = Any
"""That of conftest.py."""


def body(delivery: Any) -> Any:
    return decode(delivery.message).body


def test_no_more_messages_are_given_out_than_there_is_credit(transport: LocalTransport, send: Sender) -> None:
    held: list[Any] = []
    destination = transport.subscribe("a", credit=2, on_delivery=held.append)
    for number in range(5):
        send("a", str(number))
    assert [body(each) for each in held] == ["0", "1"]
    assert held[0].accept() and not held[0].accept()
    assert [body(each) for each in held] == ["0", "1", "2"]
    transport.add_credit(destination, 1)
    assert [body(each) for each in held] == ["0", "1", "2", "3"]
    transport.add_credit(destination, -2)
    assert held[1].reject("amqp:decode-error", "no") and held[2].accept() and len(held) == 4
    assert held[3].accept() and body(held[4]) == "4"
    assert destination.held == 1


def test_a_request_is_accepted_when_it_is_given_out_and_a_one_way_message_at_once(
    transport: LocalTransport, send: Sender
) -> None:
    held: list[Any] = []
    transport.subscribe("a", credit=1, on_delivery=held.append)
    send("a", reply_to="r")
    send("a", reply_to="r")
    assert send.told == [Outcome.ACCEPTED]
    send("a")
    assert send.told == [Outcome.ACCEPTED] * 2
    held[0].accept()
    assert send.told == [Outcome.ACCEPTED] * 3


def test_an_interrupt_while_a_message_is_given_out_frees_its_place(transport: LocalTransport, send: Sender) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    held: list[Any] = []
    destination = transport.subscribe("a", credit=1, lane=transport.lane(1), on_delivery=held.append)
    with pytest.raises(KeyboardInterrupt):
        transport.publish("a", encode(Message(body="first", to="a")), on_outcome=interrupt)
    assert destination.held == 0
    send("a", "second")
    wait_until(lambda: [body(each) for each in held] == ["second"], BOUND)


def test_a_message_whose_time_is_over_is_not_given_out(transport: LocalTransport, send: Sender) -> None:
    held: list[Any] = []
    transport.subscribe("a", credit=1, on_delivery=held.append)
    send("a", "first")
    send("a", "late", ttl=1, reply_to="r")
    send("a", "last")
    until = time.monotonic() + 0.005
    wait_until(lambda: time.monotonic() > until, BOUND)
    held[0].accept()
    assert [body(each) for each in held] == ["first", "last"]
    assert send.told == [Outcome.ACCEPTED] * 2


def test_a_failed_message_comes_again_first_with_its_attempts(transport: LocalTransport, send: Sender) -> None:
    held: list[Any] = []
    transport.subscribe("a", credit=1, on_delivery=held.append)
    send("a", "1", ttl=60_000)
    send("a", "2")
    for attempts in range(1, 4):
        assert held[-1].fail()
        again = decode(held[-1].message)
        assert (again.body, again.delivery_count, again.first_acquirer) == ("1", attempts, False)
        assert held[-1].arrived == held[0].arrived
    assert held[-1].release()
    assert decode(held[-1].message).delivery_count == 3
    assert held[-1].accept() and body(held[-1]) == "2"


def test_a_message_that_fails_too_often_is_lost_and_logged(
    transport: LocalTransport, send: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    held: list[Any] = []
    destination = transport.subscribe("a", credit=1, max_deliveries=3, on_delivery=held.append)
    send("a")
    for _ in range(3):
        assert held[-1].fail()
    assert len(held) == 3 and (destination.held, len(destination.waiting)) == (0, 0)
    assert "a message to a is lost, because it failed 3 times" in caplog.text


def test_a_copy_of_a_message_fails_alone(transport: LocalTransport, send: Sender) -> None:
    counts: list[int] = []
    transport.subscribe("a", credit=1, on_delivery=lambda each: each.fail() if not counts else each.accept())
    transport.subscribe("+", credit=1, on_delivery=lambda each: counts.append(decode(each.message).delivery_count))
    transport.publish("a", encode(Message(body="", to="a")))
    assert counts == [0]


def test_a_function_that_raises_in_a_lane_fails_its_message(
    transport: LocalTransport, send: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    counts: list[int] = []
    done = threading.Event()

    def take(delivery: Any) -> None:
        counts.append(decode(delivery.message).delivery_count)
        if len(counts) < 3:
            raise LookupError("hostile")
        delivery.accept()
        done.set()

    transport.subscribe("a", credit=1, lane=transport.lane(1), on_delivery=take)
    send("a")
    assert done.wait(BOUND)
    assert counts == [0, 1, 2]
    assert caplog.text.count("LookupError: hostile") == 2


def test_a_function_that_raises_without_a_lane_is_logged_and_does_not_get_its_message_again(
    transport: LocalTransport, send: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    destination = transport.subscribe("a", on_delivery=lambda delivery: {}["hostile"])
    send("a")
    assert "KeyError: 'hostile'" in caplog.text
    assert destination.held == 0


@pytest.mark.parametrize("in_lane", [False, True])
def test_a_function_that_returns_true_settles_its_message(
    transport: LocalTransport, send: Sender, in_lane: bool
) -> None:
    lane = transport.lane(1) if in_lane else None
    subscription = transport.subscribe("a", credit=1, lane=lane, on_delivery=lambda delivery: True)
    send("a")
    wait_until(lambda: send.told == [Outcome.ACCEPTED] and subscription.held == 0)


def test_a_full_destination_rejects(transport: LocalTransport, send: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination, "MOST_WAITING", 2)
    held: list[Any] = []
    transport.subscribe("a", credit=1, on_delivery=held.append)
    for _ in range(4):
        send("a")
    assert send.outcomes[-1] == (Outcome.REJECTED, destination.FULL)
    assert send.told[:-1] == [Outcome.ACCEPTED] * 3
    while held[-1].accept():
        pass
    assert len(held) == 3


def test_a_destination_is_full_by_its_bytes_too_and_makes_room_for_what_is_alive(
    transport: LocalTransport, send: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "MOST_BYTES", 3000)
    transport.subscribe("a", credit=1, on_delivery=lambda delivery: None)
    send("a")
    send("a", "x" * 2000, ttl=1, reply_to="r")
    until = time.monotonic() + 0.005
    wait_until(lambda: time.monotonic() > until, BOUND)
    send("a", "x" * 2000)
    send("a", "x" * 2000)
    assert send.told == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.REJECTED]


def test_without_credit_a_destination_keeps_nothing_and_says_so(
    transport: LocalTransport, send: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    destination = transport.subscribe("a", credit=0, on_delivery=lambda delivery: None)
    send("a")
    assert send.told == [Outcome.ACCEPTED]
    assert not destination.waiting
    assert caplog.messages == ["a message to a is lost, because nothing keeps it inside of a process"]
