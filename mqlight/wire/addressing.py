"""Which dialect a broker speaks: read from its open frame, unless the URL says so (``?dialect=``)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mqlight.amqp.types import Peer
from mqlight.wire.artemis import Artemis
from mqlight.wire.dialect import AddressError, Dialect, IbmMq, Plain
from mqlight.wire.rabbitmq import OLDEST, RabbitMq

DIALECTS: dict[str, type[Dialect]] = {kind.name: kind for kind in (Dialect, IbmMq, RabbitMq, Artemis, Plain)}


def dialect_of(peer: Peer, options: Mapping[str, str]) -> Dialect:
    """The dialect for a broker that said ``peer`` of itself. ``options`` are those of its URL.

    A broker that names no product is taken for an MQ Light one: those of IBM name none.

    Raises:
        AddressError: a RabbitMQ that is too old, or an option that does not exist.
    """
    product = str(peer.properties.get("product") or "")
    wanted = options.get("dialect")
    if wanted is not None:
        if wanted not in DIALECTS:
            raise AddressError(f"there is no dialect {wanted!r}; there are {', '.join(DIALECTS)}")
        kind = DIALECTS[wanted]
    else:
        kind = _kind(product)
    if kind is RabbitMq:
        version = str(peer.properties.get("version") or "")
        if product.lower() == "rabbitmq" and not _is_new_enough(version):
            raise AddressError(
                f"this is RabbitMQ {version}, whose AMQP 1.0 is a plug-in without the addresses and the management "
                f"that are needed here: upgrade it to {OLDEST[0]}.{OLDEST[1]} or newer"
            )
        return RabbitMq(peer, options.get("queues", "quorum"))
    return kind(peer)


def _kind(product: str) -> type[Dialect]:
    product = product.lower()
    if "ibm mq" in product:
        return IbmMq
    if not product or "mqlight" in product:
        return Dialect
    if product == "rabbitmq":
        return RabbitMq
    if "artemis" in product:
        return Artemis
    return Plain


def _is_new_enough(version: str) -> bool:
    """Whether it is `OLDEST` or newer; a version that is no number is given the benefit of the doubt."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is None or (int(found[1]), int(found[2])) >= OLDEST
