"""The wishes of a receiver in its attach, and the grants."""

from __future__ import annotations

import pytest

from amqp.pair import Pair
from mqlight.amqp.types import Terminus
from mqlight.server.destination import DestinationName
from mqlight.server.sources import MAX_TTL, granted, name_of, refusal, time_to_live


def name(source: Terminus, client_id: str = "c") -> DestinationName:
    pair = Pair()
    pair.client.engine.attach_receiver("link", source, at_most_once=False)
    pair.pump()
    return name_of(pair.server.all("attach")[0][0], client_id, 7)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (Terminus("t", copy=True), "distribution mode copy"),
        (Terminus("t", filters=("apache.org:selector-filter:string",)), "without the filter apache.org:selector"),
        (Terminus("t", timeout=MAX_TTL + 1), "ServerContext_InvalidSourceTimeout"),
    ],
)
def test_a_wish_that_cannot_be_left_out_silently_is_refused(source: Terminus, why: str) -> None:
    condition = refusal(source)
    assert condition is not None and why in condition.description


def test_other_wishes_are_not() -> None:
    assert refusal(Terminus("t", timeout=MAX_TTL)) is None
    assert refusal(Terminus("t", copy=True, capabilities=("topic",))) is None, "JMS asks so for a topic"


@pytest.mark.parametrize(
    ("address", "client_id", "found"),
    [
        ("private:a/#", "c", DestinationName("a/#", client_id="c")),
        ("private:a", "", DestinationName("a", client_id=7)),
        ("share:s:a:b", "c", DestinationName("a:b", share="s")),
        ("share::a", "c", DestinationName("a", client_id="c")),
    ],
)
def test_an_address_of_mq_light_names_the_client_or_the_share_and_the_pattern(
    address: str, client_id: str, found: DestinationName
) -> None:
    assert name(Terminus(address), client_id) == found


def test_a_share_without_a_pattern_is_no_address() -> None:
    with pytest.raises(ValueError, match="not share:SHARE:PATTERN"):
        name(Terminus("share:s"))


def test_a_plain_address_that_lasts_is_found_again_by_client_and_link_and_else_belongs_to_its_link_alone() -> None:
    assert name(Terminus("news", timeout=5)) == DestinationName("news", client_id="c", link="link")
    assert name(Terminus("news")) != name(Terminus("news"))


@pytest.mark.parametrize(
    ("source", "client_id", "seconds"),
    [
        (Terminus("private:t", timeout=9), "c", 9),
        (Terminus("private:t", timeout=9), "", 0),
        (Terminus("share:s:t", timeout=9), "", 9),
        (Terminus("t", durable=True), "c", MAX_TTL),
        (Terminus("t", durable=True, timeout=9), "c", 9),
        (Terminus("t", never=True, timeout=9), "c", MAX_TTL),
        (Terminus(None, dynamic=True, timeout=9), "c", 0),
    ],
)
def test_a_destination_outlives_its_receivers_for_the_time_that_was_asked_for(
    source: Terminus, client_id: str, seconds: int
) -> None:
    assert time_to_live(source, client_id) == seconds


def test_the_answer_says_what_the_server_does() -> None:
    outcomes = ("amqp:accepted:list", "x:list")
    asked = Terminus("t", timeout=9, durable=True, never=True, capabilities=("topic", "shared"), outcomes=outcomes)
    answer = granted(asked, 9.0, {"topic"}, durable=False)
    assert answer == Terminus("t", timeout=9, capabilities=("topic",), outcomes=("amqp:accepted:list",))
    assert granted(asked, 9.0, {"topic"}, durable=True).durable
    assert not granted(asked, 0.0, {"topic"}, durable=True).durable
