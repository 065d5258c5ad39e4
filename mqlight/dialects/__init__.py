"""Choose the dialect of a broker by its open frame, unless the URL names one (``?dialect=``)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mqlight.amqp.types import Peer
from mqlight.dialects.artemis import Artemis
from mqlight.dialects.base import AddressError, Dialect, IbmMq, Plain
from mqlight.dialects.rabbitmq import OLDEST, RabbitMq

DIALECTS: dict[str, type[Dialect]] = {kind.name: kind for kind in (Dialect, IbmMq, RabbitMq, Artemis, Plain)}


def dialect_of(peer: Peer, options: Mapping[str, str]) -> Dialect:
    """Return the dialect for the broker ``peer``. ``options`` are the options of its URL.

    A broker that names no product counts as an MQ Light server, because IBM's servers name none.

    Raises:
        AddressError: RabbitMQ is too old, or an option does not exist.
    """
    product = str(peer.properties.get("product") or "")
    wanted = options.get("dialect")
    if wanted is not None:
        if wanted not in DIALECTS:
            raise AddressError(f"the dialect {wanted!r} does not exist; there are {', '.join(DIALECTS)}")
        kind = DIALECTS[wanted]
    else:
        kind = _kind(product)
    if kind is RabbitMq:
        version = str(peer.properties.get("version") or "")
        if product.lower() == "rabbitmq" and not _is_new_enough(version):
            raise AddressError(
                f"this is RabbitMQ {version}, which lacks the addresses and the management of AMQP 1.0 that macaque "
                f"needs: upgrade it to {OLDEST[0]}.{OLDEST[1]} or newer"
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
    """Return whether a version is `OLDEST` or newer. A version that is not a number counts as new enough."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is None or (int(found[1]), int(found[2])) >= OLDEST
