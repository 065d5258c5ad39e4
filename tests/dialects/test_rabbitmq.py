"""The dialect of RabbitMQ: topics, shares, times to live, and the addresses of messages."""

from __future__ import annotations

from typing import Any

import pytest

from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Peer, Terminus
from mqlight.dialects.base import AddressError, Answer, Wanted
from mqlight.dialects.rabbitmq import RabbitMq

RABBITMQ = RabbitMq(Peer("broker", None, {"product": "RabbitMQ", "version": "4.0.5"}, (), ()))
SHARED = Wanted("c", "a/+", "s", ttl=60, max_deliveries=5, dead_letters="dead/a.b")


def answered(steps: Any, *answers: Answer) -> list[Any]:
    """The requests of some steps that are given these answers."""
    requests = [next(steps)]
    for answer in answers:
        try:
            requests.append(steps.send(answer))
        except StopIteration:
            break
    return requests


def test_a_share_on_rabbitmq_is_a_quorum_queue_that_expires_and_buries_its_dead() -> None:
    done = Answer(201, {})
    assert RABBITMQ.source(SHARED) == ("share:s:a/+", Terminus("/queues/share%3As%3Aa%2F%2B"))
    steps = RABBITMQ.declare(SHARED)
    assert answered(steps, done, Answer(204, None)) == [
        (
            "PUT",
            "/queues/share%3As%3Aa%2F%2B",
            {
                "durable": True,
                "arguments": {
                    "x-queue-type": "quorum",
                    "x-expires": 60_000,
                    "x-delivery-limit": 4,
                    "x-dead-letter-exchange": "amq.topic",
                    "x-dead-letter-routing-key": "dead.a%2Eb",
                },
            },
        ),
        (
            "POST",
            "/bindings",
            {"source": "amq.topic", "destination_queue": "share:s:a/+", "binding_key": "a.*", "arguments": {}},
        ),
    ]


def test_a_private_subscription_without_a_time_to_live_is_a_queue_of_this_connection() -> None:
    first, second = (Wanted("c", "a", nonce=nonce) for nonce in ("1", "2"))
    (request,) = answered(RABBITMQ.declare(first))
    assert request.body == {"durable": False, "exclusive": True, "arguments": {"x-queue-type": "classic"}}
    assert RABBITMQ.source(first) != RABBITMQ.source(second)
    lasting = [Wanted("c", "a", ttl=9, nonce=nonce) for nonce in ("1", "2")]
    assert RABBITMQ.source(lasting[0]) == RABBITMQ.source(lasting[1])


def test_queues_of_different_subscriptions_have_different_names_however_long() -> None:
    names = {RABBITMQ.source(Wanted("c", "x" * 300 + end, "s", ttl=1)).link for end in ("a", "b", "é")}
    names |= {RABBITMQ.source(Wanted("c", "x" * 300 + "a", share, ttl=1)).link for share in ("s", None)}
    assert len(names) == 4
    assert all(len(name.encode()) <= 200 for name in names)


@pytest.mark.parametrize(("consumers", "deleted"), [(0, True), (1, False)])
def test_a_share_is_deleted_by_its_last_member(consumers: int, deleted: bool) -> None:
    requests = answered(RABBITMQ.forget(SHARED), Answer(200, {"consumer_count": consumers}), Answer(200, {}))
    assert [request.method for request in requests] == ["GET", "DELETE"][: 1 + deleted]


def test_a_queue_that_is_gone_already_is_forgotten() -> None:
    assert len(answered(RABBITMQ.forget(SHARED), Answer(404, "not found"))) == 1


@pytest.mark.parametrize(
    ("status", "said", "condition"),
    [
        (409, "inequivalent arg 'x-expires'", "amqp:precondition-failed"),
        (403, "queue limit exceeded", "amqp:unauthorized-access"),
        (400, "bad argument", "amqp:not-allowed"),
        (400, "the node is down or inaccessible", "amqp:internal-error"),
        (503, "no quorum", "amqp:internal-error"),
    ],
)
def test_what_rabbitmq_refuses_is_an_error_with_its_words(status: int, said: str, condition: str) -> None:
    steps = RABBITMQ.declare(SHARED)
    with pytest.raises(AddressError, match=said) as raised:
        answered(steps, Answer(status, said))
    assert raised.value.condition.name == condition


def test_messages_to_rabbitmq_carry_addresses_and_are_durable_if_they_are_not_to_be_lost() -> None:
    message = encode(Message(body="b", to="a/b", reply_to="r/1"))
    stamped = decode(RABBITMQ.readdress(message, "a/b", False))
    assert (stamped.to, stamped.reply_to) == ("/exchanges/amq.topic/a.b", "/exchanges/amq.topic/r.1")
    assert stamped.durable and not decode(RABBITMQ.readdress(message, "a/b", True)).durable
    assert RABBITMQ.topic(stamped.to) == "a/b"


def test_an_address_of_rabbitmq_is_used_as_it_stands() -> None:
    message = encode(Message(body="b", to="x", reply_to="/queues/mine"))
    stamped = decode(RABBITMQ.readdress(message, "/queues/yours", False))
    assert (stamped.to, stamped.reply_to) == ("/queues/yours", "/queues/mine")
    assert RABBITMQ.topic("/queues/yours") == "/queues/yours"


@pytest.mark.parametrize("topic", ["x" * 256, "." * 100, "ü" * 128])
def test_a_topic_that_is_too_long_for_a_routing_key_is_refused(topic: str) -> None:
    message = encode(Message(body="b", to="t"))
    with pytest.raises(AddressError, match="limit is 255"):
        RABBITMQ.readdress(message, topic, False)
    with pytest.raises(AddressError, match="limit is 255"):
        RABBITMQ.declare(Wanted("c", topic))
