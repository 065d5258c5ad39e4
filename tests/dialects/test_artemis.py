"""The dialect of Artemis: topics, shares and times to live."""

from __future__ import annotations

from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Peer, Terminus
from mqlight.dialects.artemis import Artemis
from mqlight.dialects.base import Wanted

ARTEMIS = Artemis(Peer("broker", None, {}, (), ()))


def test_artemis_has_durable_subscriptions_that_shares_have_in_common() -> None:
    link, source = ARTEMIS.source(Wanted("c", "a/+", "s", ttl=60))
    assert source == Terminus("a.*", capabilities=("topic", "shared", "global"), durable=True)
    assert link != ARTEMIS.source(Wanted("c", "a/+", "t", ttl=60)).link
    assert ARTEMIS.source(Wanted("c", "a/#")).terminus == Terminus("a.#", capabilities=("topic",))


def test_messages_to_artemis_carry_its_addresses() -> None:
    message = encode(Message(body="b", to="a/b.c"))
    stamped = decode(ARTEMIS.readdress(message, "a/b.c", False))
    assert stamped.to == "a.b%2Ec" and stamped.durable
    assert ARTEMIS.topic(stamped.to) == "a/b.c"
