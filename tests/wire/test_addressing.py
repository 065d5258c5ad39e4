"""Which dialect is chosen, and what each makes of topics, shares and times to live."""

from __future__ import annotations

from typing import Any

import pytest

from mqlight.amqp.types import Peer, Terminus
from mqlight.wire.addressing import DIALECTS, dialect_of
from mqlight.wire.dialect import ANONYMOUS_RELAY, RELEASE_UNROUTED, AddressError, Answer, Dialect, Wanted
from mqlight.wire.message import Message, decode, encode
from mqlight.wire.rabbitmq import RabbitMq


def peer(product: str | None = None, version: str | None = None, *offered: str) -> Peer:
    properties: dict[str, object] = {}
    if product is not None:
        properties["product"] = product
    if version is not None:
        properties["version"] = version
    return Peer("broker", None, properties, offered, ())


def dialect(product: str | None = None, version: str | None = None, **options: str) -> Dialect:
    return dialect_of(peer(product, version, ANONYMOUS_RELAY), options)


def answered(steps: Any, *answers: Answer) -> list[Any]:
    """The requests of some steps that are given these answers."""
    requests = [next(steps)]
    for answer in answers:
        try:
            requests.append(steps.send(answer))
        except StopIteration:
            break
    return requests


@pytest.mark.parametrize(
    ("product", "version", "name"),
    [
        (None, None, "mqlight"),
        ("macaque mqlight server", None, "mqlight"),
        ("IBM MQ", "9.4", "ibm-mq"),
        ("RabbitMQ", "4.0.5", "rabbitmq"),
        ("RabbitMQ", "4.2.0-beta.1", "rabbitmq"),
        ("RabbitMQ", "10.1", "rabbitmq"),
        ("apache-activemq-artemis", "2.40.0", "artemis"),
        ("qpid-dispatch-router", "1.19", "plain"),
        ("ActiveMQ", "5.17.2", "plain"),
    ],
)
def test_the_open_frame_tells_the_dialect(product: str | None, version: str | None, name: str) -> None:
    assert dialect(product, version).name == name


@pytest.mark.parametrize("name", DIALECTS)
def test_the_url_goes_before_the_open_frame(name: str) -> None:
    assert dialect("something", "1.0", dialect=name).name == name


@pytest.mark.parametrize("version", ["3.13.7", "3.9", "2.8.4"])
def test_a_rabbitmq_that_is_too_old_is_refused_with_the_one_to_take(version: str) -> None:
    with pytest.raises(AddressError, match=f"RabbitMQ {version}.* upgrade it to 4.0 or newer"):
        dialect("RabbitMQ", version)


def test_a_dialect_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(AddressError, match="there is no dialect 'klingon'; there are mqlight, ibm-mq, rabbitmq"):
        dialect(dialect="klingon")


def test_a_type_of_queue_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AddressError, match="queues=stream is none of"):
        dialect("RabbitMQ", "4.0", queues="stream")


def test_mq_light_has_pattern_and_share_in_the_address() -> None:
    chosen = dialect()
    for wanted in Wanted("c", "a/+"), Wanted("c", "a/+", "s", ttl=60):
        address = "private:a/+" if wanted.share is None else "share:s:a/+"
        assert chosen.source(wanted) == (address, Terminus(address, timeout=wanted.ttl))
        assert chosen.declare(wanted) is None and chosen.forget(wanted) is None
    assert chosen.target("t", True) == Terminus("t", capabilities=(RELEASE_UNROUTED,))
    assert chosen.target(None, False) == Terminus(None)
    assert chosen.stamp(b"as it is", "t", False) == b"as it is"


def test_one_link_takes_all_topics_only_where_the_broker_offers_it() -> None:
    assert dialect_of(peer(None, None, ANONYMOUS_RELAY), {}).relay
    assert not dialect_of(peer(None, None), {}).relay


def test_ibm_mq_is_not_asked_for_what_it_does_not_know() -> None:
    assert dialect("IBM MQ").target("t", True) == Terminus("t")


RABBITMQ = RabbitMq(peer("RabbitMQ", "4.0.5"))
SHARED = Wanted("c", "a/+", "s", ttl=60, max_deliveries=5, dead_letters="dead/a.b")


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
    stamped = decode(RABBITMQ.stamp(message, "a/b", False))
    assert (stamped.to, stamped.reply_to) == ("/exchanges/amq.topic/a.b", "/exchanges/amq.topic/r.1")
    assert stamped.durable and not decode(RABBITMQ.stamp(message, "a/b", True)).durable
    assert RABBITMQ.topic(stamped.to) == "a/b"


def test_an_address_of_rabbitmq_is_used_as_it_stands() -> None:
    message = encode(Message(body="b", to="x", reply_to="/queues/mine"))
    stamped = decode(RABBITMQ.stamp(message, "/queues/yours", False))
    assert (stamped.to, stamped.reply_to) == ("/queues/yours", "/queues/mine")
    assert RABBITMQ.topic("/queues/yours") == "/queues/yours"


@pytest.mark.parametrize("topic", ["x" * 256, "." * 100, "ü" * 128])
def test_a_topic_that_is_too_long_for_a_routing_key_is_refused(topic: str) -> None:
    message = encode(Message(body="b", to="t"))
    with pytest.raises(AddressError, match="limit is 255"):
        RABBITMQ.stamp(message, topic, False)
    with pytest.raises(AddressError, match="limit is 255"):
        RABBITMQ.declare(Wanted("c", topic))


ARTEMIS = dialect("apache-activemq-artemis", "2.40.0")


def test_artemis_has_durable_subscriptions_that_shares_have_in_common() -> None:
    link, source = ARTEMIS.source(Wanted("c", "a/+", "s", ttl=60))
    assert source == Terminus("a.*", capabilities=("topic", "shared", "global"), durable=True)
    assert link != ARTEMIS.source(Wanted("c", "a/+", "t", ttl=60)).link
    assert ARTEMIS.source(Wanted("c", "a/#")).terminus == Terminus("a.#", capabilities=("topic",))


def test_messages_to_artemis_carry_its_addresses() -> None:
    message = encode(Message(body="b", to="a/b.c"))
    stamped = decode(ARTEMIS.stamp(message, "a/b.c", False))
    assert stamped.to == "a.b%2Ec" and stamped.durable
    assert ARTEMIS.topic(stamped.to) == "a/b.c"


def test_plain_amqp_has_queues_for_shares_and_topics_for_the_others_and_no_wildcards() -> None:
    plain = dialect("something else")
    assert plain.source(Wanted("c", "a", "s")).terminus == Terminus("a", capabilities=("queue",))
    assert plain.source(Wanted("c", "a")).terminus == Terminus("a", capabilities=("topic",))
    for pattern in "a/+", "#":
        with pytest.raises(AddressError, match="no wildcards"):
            plain.source(Wanted("c", pattern))
