"""The choice of the dialect for a broker."""

from __future__ import annotations

import pytest

from mqlight.amqp.capabilities import ANONYMOUS_RELAY
from mqlight.amqp.types import Peer
from mqlight.dialects import DIALECTS, dialect_of
from mqlight.dialects.base import AddressError, Dialect


def peer(product: str | None = None, version: str | None = None, *offered: str) -> Peer:
    properties: dict[str, object] = {}
    if product is not None:
        properties["product"] = product
    if version is not None:
        properties["version"] = version
    return Peer("broker", None, properties, offered, ())


def dialect(product: str | None = None, version: str | None = None, **options: str) -> Dialect:
    return dialect_of(peer(product, version, ANONYMOUS_RELAY), options)


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
    with pytest.raises(AddressError, match="the dialect 'klingon' does not exist; there are mqlight, ibm-mq, rabbitmq"):
        dialect(dialect="klingon")


def test_a_type_of_queue_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AddressError, match="queues=stream is no queue type of RabbitMQ"):
        dialect("RabbitMQ", "4.0", queues="stream")
