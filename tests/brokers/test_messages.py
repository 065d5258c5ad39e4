"""The contract of messages and subscriptions, on every broker."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import mqlight
from mqlight.addresses import Addresses
from mqlight.amqp.message import Message, decode, encode
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from processes import wait_until
from real_brokers import Broker


class Person:
    """An MQ Light client that waits for what it asks for."""

    def __init__(self, url: str, client_id: str | None = None) -> None:
        self.client = mqlight.Client(url, client_id)
        self.got: list[tuple[str, Any]] = []
        """Topic and data of what arrived, in order."""

    def listen(self, pattern: str, share: str | None = None, **options: Any) -> None:
        """Subscribe. Raises the error that the broker, or the dialect, answers with."""
        answers: list[Exception | None] = []

        def received(kind: str, data: Any, delivery: Any) -> None:
            self.got.append((delivery["message"]["topic"], data))

        self.client.subscribe(
            pattern, share, options, lambda client, error, *_: answers.append(error), on_message=received
        )
        wait_until(lambda: answers, 20, f"an answer to the subscription to {pattern}")
        if answers[0] is not None:
            raise answers[0]

    def leave(self, pattern: str, share: str | None = None, **options: Any) -> None:
        answers: list[Exception | None] = []
        self.client.unsubscribe(pattern, share, options, lambda client, error, *_: answers.append(error))
        wait_until(lambda: answers, 20, f"an answer to the end of the subscription to {pattern}")
        assert answers == [None]

    def say(self, topic: str, data: Any, **options: Any) -> None:
        """Send, and wait for the broker's word. Raises the error that it answers with."""
        answers: list[Exception | None] = []
        self.client.send(topic, data, {"qos": 1, **options}, lambda client, error, *_: answers.append(error))
        wait_until(lambda: answers, 20, f"an answer to the message to {topic}")
        if answers[0] is not None:
            raise answers[0]

    def wait_for(self, *messages: tuple[str, Any]) -> None:
        wait_until(lambda: len(self.got) >= len(messages), 20, f"{messages}, of which came {self.got}")
        assert self.got == list(messages)

    def close(self) -> None:
        stopped = threading.Event()
        self.client.stop(lambda client, error: stopped.set())
        assert stopped.wait(20)


@pytest.fixture
def meet(broker_url: str) -> Iterator[Callable[..., Person]]:
    people: list[Person] = []

    def meet(client_id: str | None = None) -> Person:
        people.append(Person(broker_url, client_id))
        return people[-1]

    yield meet
    for person in people:
        person.close()


Meet = Callable[..., Person]


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("data", ["text: grün", b"bytes\x00\xff", {"json": [1, None]}], ids=["text", "bytes", "json"])
def test_a_message_arrives_as_it_was_sent(meet: Meet, topic: str, qos: int, data: Any) -> None:
    sender, receiver = meet(), meet()
    receiver.listen(topic, qos=qos)
    sender.say(topic, data)
    receiver.wait_for((topic, data))


def test_a_message_at_most_once_arrives_when_nothing_goes_wrong(meet: Meet, topic: str) -> None:
    sender, receiver = meet(), meet()
    receiver.listen(topic)
    sender.say(topic, "first")
    sender.client.send(topic, "second", {"qos": 0})
    receiver.wait_for((topic, "first"), (topic, "second"))


def test_messages_of_one_sender_arrive_in_their_order(meet: Meet, topic: str) -> None:
    sender, receiver = meet(), meet()
    receiver.listen(topic, qos=1)
    for number in range(300):
        sender.client.send(topic, str(number), {"qos": 1}, lambda *_: None)
    receiver.wait_for(*((topic, str(number)) for number in range(300)))


def test_everybody_who_listens_alone_gets_every_message(meet: Meet, topic: str) -> None:
    sender, one, other = meet(), meet(), meet()
    one.listen(topic, qos=1)
    other.listen(topic, qos=1, ttl=60_000)
    sender.say(topic, "a")
    for person in one, other:
        person.wait_for((topic, "a"))
    other.leave(topic, ttl=0)


def test_nobody_listens_and_the_message_is_accepted_and_dropped(meet: Meet, topic: str) -> None:
    meet().say(topic, "a")


MATCHES = ["a", "a/b", "a/b/c", "a//c", "/a/b", "A/b", "a/b.c", "a/*", "a/#x", "a/two words", "a/鱼", "a/b/"]


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("a/+", ["a/b", "a/b.c", "a/*", "a/#x", "a/two words", "a/鱼"]),
        ("a/#", ["a", "a/b", "a/b/c", "a//c", "a/b.c", "a/*", "a/#x", "a/two words", "a/鱼", "a/b/"]),
        ("a/+/c", ["a/b/c", "a//c"]),
        ("#/c", ["a/b/c", "a//c"]),
        ("a/#x", ["a/#x"]),
        ("+/a/b", ["/a/b"]),
        ("a/b/+", ["a/b/c", "a/b/"]),
    ],
)
def test_wildcards_match_whole_levels_and_the_real_topic_is_told(
    meet: Meet, topic: str, pattern: str, matching: list[str]
) -> None:
    sender, receiver = meet(), meet()
    receiver.listen(f"{topic}/{pattern}", qos=1)
    for name in MATCHES:
        sender.client.send(f"{topic}/{name}", name, {"qos": 1}, lambda *_: None)
    receiver.listen(f"{topic}/the end")
    sender.say(f"{topic}/the end", "")
    expected = [(f"{topic}/{name}", name) for name in matching]
    wait_until(lambda: len(receiver.got) > len(expected), 20, f"{expected}, of which came {receiver.got}")
    assert sorted(receiver.got) == sorted([*expected, (f"{topic}/the end", "")])


def test_a_message_is_not_delivered_after_its_time_to_live(meet: Meet, topic: str) -> None:
    sender, receiver = meet(), meet()
    receiver.listen(topic, "s", qos=1, ttl=60_000)
    receiver.leave(topic, "s")
    sender.say(topic, "short", ttl=500)
    sender.say(topic, "long", ttl=60_000)
    threading.Event().wait(1.0)
    receiver.listen(topic, "s", qos=1, ttl=60_000)
    receiver.wait_for((topic, "long"))
    receiver.leave(topic, "s", ttl=0)


def test_a_destination_keeps_what_comes_while_nobody_listens(meet: Meet, topic: str) -> None:
    sender, receiver, other = meet(), meet(f"one_{uuid.uuid4().hex[:8]}"), meet()
    for share, person in ((None, receiver), ("s", other)):
        person.listen(topic, share, qos=1, ttl=60_000)
        person.leave(topic, share)
    sender.say(topic, "a")
    receiver.listen(topic, qos=1, ttl=60_000)
    receiver.wait_for((topic, "a"))
    receiver.got.clear()
    receiver.listen(topic, "s", qos=1, ttl=60_000)
    receiver.wait_for((topic, "a"))
    receiver.leave(topic, ttl=0)
    receiver.leave(topic, "s", ttl=0)


@pytest.mark.parametrize("share", [None, "s"])
def test_a_destination_that_is_forgotten_keeps_nothing(meet: Meet, topic: str, share: str | None) -> None:
    sender, receiver = meet(), meet()
    receiver.listen(topic, share, qos=1, ttl=60_000)
    receiver.leave(topic, share, ttl=0)
    sender.say(topic, "lost")
    receiver.listen(topic, share, qos=1, ttl=60_000)
    sender.say(topic, "kept")
    receiver.wait_for((topic, "kept"))
    receiver.leave(topic, share, ttl=0)


def test_a_share_is_not_forgotten_while_others_listen(meet: Meet, topic: str) -> None:
    sender, one, other = meet(), meet(), meet()
    for person in one, other:
        person.listen(topic, "s", qos=1, ttl=60_000)
    one.leave(topic, "s", ttl=0)
    sender.say(topic, "a")
    other.wait_for((topic, "a"))
    other.leave(topic, "s", ttl=0)


def test_a_destination_is_gone_after_its_time_to_live(meet: Meet, broker: Broker, topic: str) -> None:
    if not broker.forgets_by_itself:
        pytest.skip(f"{broker.name} keeps a destination until it is unsubscribed from")
    sender, receiver = meet(), meet()
    receiver.listen(topic, "s", qos=1, ttl=1000)
    receiver.leave(topic, "s")
    sender.say(topic, "lost")
    threading.Event().wait(1.0 + broker.lateness)
    receiver.listen(topic, "s", qos=1, ttl=1000)
    sender.say(topic, "kept")
    receiver.wait_for((topic, "kept"))


class Wire:
    """A client that looks at the messages themselves, and answers none by itself."""

    def __init__(self, url: str) -> None:
        self.connection = Connection(Addresses.of(url), f"wire_{uuid.uuid4().hex[:8]}")
        self.got: list[tuple[Message, Delivery]] = []
        self.connection.start()
        self.connection.wait_started(20)

    def listen(self, topic: str, share: str | None = None, **options: Any) -> None:
        def received(delivery: Delivery) -> None:
            self.got.append((decode(delivery.message), delivery))

        answers: list[Exception | None] = []
        self.connection.subscribe(topic, share, on_delivery=received, on_subscribed=answers.append, **options)
        wait_until(lambda: answers, 20, "an answer to the subscription")
        assert answers == [None]

    def send(self, topic: str, body: str) -> None:
        outcomes: list[Any] = []
        message = encode(Message(body=body, to=topic))
        self.connection.publish(topic, message, on_outcome=lambda outcome, _: outcomes.append(outcome))
        wait_until(lambda: outcomes, 20, "an outcome")

    def next(self) -> tuple[Message, Delivery]:
        wait_until(lambda: self.got, 20, "a message")
        return self.got.pop(0)


@pytest.fixture
def join(broker_url: str) -> Iterator[Callable[[], Wire]]:
    wires: list[Wire] = []

    def join() -> Wire:
        wires.append(Wire(broker_url))
        return wires[-1]

    yield join
    for wire in wires:
        wire.connection.stop()


def test_a_message_comes_again_with_its_count_when_its_receiver_vanishes(
    join: Callable[[], Wire], broker: Broker, topic: str
) -> None:
    heir = join()
    heir.listen(topic, "s", ttl=60, credit=1)
    heir.send(topic, "a")
    counts = []
    for _ in range(3):
        message, delivery = heir.next()
        counts.append(message.delivery_count)
        previous, heir = heir, join()
        heir.listen(topic, "s", ttl=60, credit=1)
        previous.connection._outlet.drop()  # the socket is cut
        previous.connection.stop(0.1)
    message, delivery = heir.next()
    assert message.body == "a"
    delivery.accept()
    if broker.counts_vanished:
        assert [*counts, message.delivery_count] == [0, 1, 2, 3]


def test_a_message_that_was_given_out_too_often_goes_to_the_dead_letters(
    join: Callable[[], Wire], broker: Broker, topic: str
) -> None:
    if not broker.limits_deliveries:
        pytest.skip(f"{broker.name} is not told by its clients how often it may give a message out")
    grave, sender = join(), join()
    grave.listen(f"{topic}/dead", "s", ttl=60)
    given = 0
    for _ in range(3):
        victim = join()
        victim.listen(topic, "s", ttl=60, credit=1, max_deliveries=3, dead_letters=f"{topic}/dead")
        if not given:
            sender.send(topic, "a")
        victim.next()
        given += 1
        victim.connection._outlet.drop()
        victim.connection.stop(0.1)
    message, delivery = grave.next()
    delivery.accept()
    assert message.body == "a"
