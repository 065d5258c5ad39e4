"""Sources and targets: how they are asked for, answered and refused (sections 3.5.3, 3.5.4, 4.5.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from amqp.pair import Pair
from amqp.raw import RawPeer, attach, condition_of
from mqlight.amqp import Condition, Terminus
from mqlight.amqp.codec import Described, Symbol, Uint, Ulong, decode, encode
from mqlight.amqp.frames import MOST_NAMES, Fields, GarbledError, fields_of
from mqlight.amqp.termini import COORDINATOR, SOURCE, TARGET, answered_terminus, read_terminus, wanted_terminus

DENIED = Condition("amqp:not-allowed", "not for you")


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


def test_a_receiver_attaches_with_source_and_target_alike(pair: Pair) -> None:
    source = Terminus("share:s:a/#", timeout=60)
    link = pair.client.engine.attach_receiver("share:s:a/#", source, at_most_once=False)
    pair.pump()
    (other,) = pair.server.one("attach")
    assert not other.receiver
    assert other.source == other.target == replace(link.source, outcomes=()) == link.target == source


def test_capabilities_travel_and_come_back(pair: Pair) -> None:
    link = pair.client.engine.attach_sender("l", Terminus("t", capabilities=("x", "y")))
    pair.pump()
    assert pair.server.one("attach")[0].target.capabilities == ("x", "y")
    assert link.target.capabilities == ("x", "y")


def test_an_anonymous_sender_has_a_target_without_address(pair: Pair) -> None:
    link, other = pair.sender(None)
    assert other.target.address is None
    assert link.credit == 100
    link.send(b"m", 1)
    pair.pump()
    assert pair.server.messages == [b"m"]


def refusing(*frames: bytes) -> list[tuple[str, list[Any]]]:
    peer = RawPeer()
    peer.end.answer = lambda link: link.refuse(DENIED)
    return peer.give(*frames)


@pytest.mark.parametrize("receiver", [True, False])
def test_a_refused_link_is_attached_with_a_null_terminus_and_then_detached(receiver: bool) -> None:
    """Section 2.6.3: the terminus that this end would have."""
    (attached, fields), (detached, reason) = refusing(attach(receiver=receiver))
    assert (attached, detached) == ("attach", "detach")
    source, other = [*fields, None, None][5:7]
    assert (source if receiver else other) is None
    assert condition_of(reason, 2) == DENIED.name and reason[1] is True


@pytest.mark.parametrize("receiver", [True, False])
@pytest.mark.parametrize("source", [None, "t"])
def test_an_accepted_link_has_both_termini_whatever_the_peer_gave(source: str | None, receiver: bool) -> None:
    """Section 2.6.3."""
    ((_, fields), *_) = RawPeer().give(attach(receiver=receiver, source=None, target=None))
    assert fields[5] is not None and fields[6] is not None


def test_the_source_of_an_answer_names_the_outcomes_that_are_understood() -> None:
    """Section 3.5.3."""
    peer = RawPeer()
    ((_, fields), *_) = peer.give(attach(receiver=True))
    assert [str(name) for name in fields[5].value[9].values] == [
        "amqp:accepted:list",
        "amqp:rejected:list",
        "amqp:released:list",
        "amqp:modified:list",
    ]
    assert isinstance(fields[5].value[9].values[0], Symbol)


def written(value: Any) -> Fields:
    return fields_of(decode(encode(value)))


@pytest.mark.parametrize("code", [SOURCE, TARGET])
@pytest.mark.parametrize(
    "terminus",
    [
        Terminus(None),
        Terminus("t"),
        Terminus("t", timeout=5, capabilities=("a", "b")),
        Terminus(None, dynamic=True),
        Terminus("t", durable=True, never=True),
    ],
    ids=str,
)
def test_a_terminus_is_read_as_it_was_wanted(terminus: Terminus, code: int) -> None:
    assert read_terminus(written(wanted_terminus(terminus, code)), code) == terminus


def test_a_null_terminus_has_no_address() -> None:
    assert read_terminus(None, SOURCE) == Terminus(None)


def test_a_coordinator_is_a_target_for_transactions() -> None:
    """Section 4.5.1."""
    coordinator = Terminus(None, coordinator=True)
    assert read_terminus(written(wanted_terminus(coordinator, TARGET)), TARGET) == coordinator
    answer = answered_terminus(Terminus(None, capabilities=("c",)), Fields(COORDINATOR, []), TARGET, True)
    assert read_terminus(written(answer), TARGET) == Terminus(None, coordinator=True, capabilities=("c",))


def test_filters_and_distribution_are_read_of_a_source_only() -> None:
    fields = ["t", None, None, None, None, None, Symbol("copy"), {Symbol("jms-selector"): "x"}]
    source = read_terminus(Fields(SOURCE, fields), SOURCE)
    assert source.copy and source.filters == ("jms-selector",)
    assert read_terminus(Fields(SOURCE, [*fields[:7], "no map"]), SOURCE).filters == ("that is no map",)
    target = read_terminus(Fields(TARGET, fields), TARGET)
    assert target == Terminus("t", capabilities=("copy",)), "the same place in a target"


@pytest.mark.parametrize(
    "fields", [Fields(SOURCE, [5]), Fields(TARGET, ["t", -1]), Fields(SOURCE, ["t", None, None, "x"])]
)
def test_a_garbled_terminus_is_refused(fields: Fields) -> None:
    with pytest.raises(GarbledError):
        read_terminus(fields, fields.code)


@pytest.mark.parametrize(("stands", "due"), [(SOURCE, TARGET), (TARGET, SOURCE), (COORDINATOR, SOURCE), (0x24, TARGET)])
def test_a_source_stands_for_no_target_and_a_target_for_no_source(stands: int, due: int) -> None:
    """Sections 2.7.3 and 4.5.1."""
    with pytest.raises(GarbledError, match="where a (source|target) is due"):
        read_terminus(Fields(stands, []), due)


@pytest.mark.parametrize("place", [7, 9, 10], ids=["filters", "outcomes", "capabilities"])
def test_the_names_in_a_terminus_are_few(place: int) -> None:
    """An end keeps them as long as the link lives."""
    names = [Symbol(f"n{number}") for number in range(MOST_NAMES + 1)]

    def read(names: list[Symbol]) -> Terminus:
        value = dict.fromkeys(names) if place == 7 else names
        return read_terminus(Fields(SOURCE, ["t", *[None] * (place - 1), value]), SOURCE)

    found = read(names[1:])
    assert len(found.filters or found.outcomes or found.capabilities) == MOST_NAMES
    with pytest.raises(GarbledError, match="257 names.*MOST_NAMES"):
        read(names)


@pytest.mark.parametrize("ours", [True, False])
def test_an_answer_decides_about_this_ends_terminus_and_repeats_the_peers(ours: bool) -> None:
    """Section 2.6.3."""
    remote = Fields(SOURCE, ["t", Uint(1), Symbol("connection-close")])
    answer = written(answered_terminus(Terminus("t", timeout=7), remote, SOURCE, ours))
    durable, expiry = answer.number(1, 2), answer.text(2)
    assert (durable, expiry) == ((-1, "link-detach") if ours else (1, "connection-close"))
    assert answer.number(3, 100) == 7 and bool(answer.symbols(9)) is ours


def test_a_dynamic_node_lives_as_long_as_its_link() -> None:
    """Section 3.5.10."""
    answer = written(answered_terminus(Terminus("made/up", dynamic=True), None, SOURCE, True))
    assert answer.flag(4) and answer.any(5) == {"lifetime-policy": Described(Ulong(0x2B), [])}
