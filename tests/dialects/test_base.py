"""The dialects of MQ Light, IBM MQ and plain AMQP: topics, shares and times to live."""

from __future__ import annotations

import pytest

from mqlight.amqp.capabilities import ANONYMOUS_RELAY, RELEASE_UNROUTED
from mqlight.amqp.types import Peer, Terminus
from mqlight.dialects.base import AddressError, Dialect, IbmMq, Plain, Wanted

PEER = Peer("broker", None, {}, (ANONYMOUS_RELAY,), ())


def test_mq_light_has_pattern_and_share_in_the_address() -> None:
    chosen = Dialect(PEER)
    for wanted in Wanted("c", "a/+"), Wanted("c", "a/+", "s", ttl=60):
        address = "private:a/+" if wanted.share is None else "share:s:a/+"
        assert chosen.source(wanted) == (address, Terminus(address, timeout=wanted.ttl))
        assert chosen.declare(wanted) is None and chosen.forget(wanted) is None
    assert chosen.target("t", True) == Terminus("t", capabilities=(RELEASE_UNROUTED,))
    assert chosen.target(None, False) == Terminus(None)
    assert chosen.readdress(b"as it is", "t", False) == b"as it is"


def test_one_link_takes_all_topics_only_where_the_broker_offers_it() -> None:
    assert Dialect(PEER).relay
    assert not Dialect(Peer("broker", None, {}, (), ())).relay


def test_ibm_mq_is_not_asked_for_what_it_does_not_know() -> None:
    assert IbmMq(PEER).target("t", True) == Terminus("t")


def test_plain_amqp_has_queues_for_shares_and_topics_for_the_others_and_no_wildcards() -> None:
    plain = Plain(PEER)
    assert plain.source(Wanted("c", "a", "s")).terminus == Terminus("a", capabilities=("queue",))
    assert plain.source(Wanted("c", "a")).terminus == Terminus("a", capabilities=("topic",))
    for pattern in "a/+", "#":
        with pytest.raises(AddressError, match="no wildcards"):
            plain.source(Wanted("c", pattern))
