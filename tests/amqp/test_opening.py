"""The open frame (section 2.7.1)."""

from __future__ import annotations

import pytest

from amqp.pair import End, Pair
from amqp.raw import frames_of, performative
from mqlight.amqp import Peer
from mqlight.amqp.codec import Array, Described, Symbol
from mqlight.amqp.frames import (
    AMQP_HEADER,
    MIN_FRAME,
    MOST_NAMES,
    U16,
    U32,
    Fields,
    GarbledError,
    PeerError,
    read_fields,
)
from mqlight.amqp.opening import Opening, open_frame, read_open
from mqlight.amqp.values import Uint


@pytest.fixture
def pair() -> Pair:
    """A client and a server, opened."""
    return Pair()


def test_each_end_learns_who_the_other_is() -> None:
    pair = Pair(
        client={"container_id": "clé", "hostname": "example.org"},
        server={"container_id": "srv", "properties": {"product": "p"}, "offered": ["A", "B"]},
    )
    (client,) = pair.server.one("open")
    (server,) = pair.client.one("open")
    assert (client.container_id, client.hostname, client.properties) == ("clé", "example.org", {})
    assert (server.container_id, server.offered) == ("srv", ("A", "B"))
    assert server.properties == {"product": "p"}


def test_an_end_that_offers_nothing_says_nothing(pair: Pair) -> None:
    (server,) = pair.client.one("open")
    assert (server.properties, server.offered, server.desired) == ({}, (), ())


@pytest.mark.parametrize("size", [0, 511])
def test_a_max_frame_size_under_512_is_refused(size: int) -> None:
    """Section 2.7.1."""
    server = End(server=True)
    server.engine.receive(AMQP_HEADER + performative(0x10, ["c", None, Uint(size)]))
    (condition,) = server.one("close")
    assert condition.name == "amqp:invalid-field" and "512" in condition.description


def test_an_open_frame_says_what_was_read_of_it() -> None:
    opening = Opening(Peer("me", "host", {"product": "p"}, ("A",), ()), 4096, 7, 250)
    data = open_frame(opening)
    assert read_open(read_fields(data, 8, len(data))[0]) == opening


def test_what_the_peer_leaves_out_is_without_limit() -> None:
    assert read_open(Fields(0x10, ["c"])) == Opening(Peer("c", None, {}, (), ()), U32, U16, 0)


def test_an_open_frame_without_a_container_id_is_refused() -> None:
    with pytest.raises(PeerError, match="container-id"):
        read_open(Fields(0x10, []))


def test_the_properties_of_a_peer_are_few_and_simple() -> None:
    """An end keeps them as long as the connection lives."""
    simple = {Symbol("product"): "p", Symbol("build"): 7}
    nested = {Symbol("list"): [[]] * 1000, Symbol("map"): {}, Symbol("array"): Array("uint")}
    described = {Symbol("described"): Described(Symbol("x"), 1)}
    fields = ["c", *[None] * 8, {**simple, **nested, **described}]
    assert read_open(Fields(0x10, fields)).peer.properties == {"product": "p", "build": 7}
    fields[9] = {Symbol(f"p{number}"): 1 for number in range(MOST_NAMES + 1)}
    with pytest.raises(GarbledError, match="257 names.*MOST_NAMES"):
        read_open(Fields(0x10, fields))


def test_an_end_without_an_idle_time_out_leaves_it_out() -> None:
    ((_, fields),) = frames_of(open_frame(Opening(Peer("c", None, {}, (), ()), 4096, 9, 0)))
    assert [*fields, *[None] * 10][4:10] == [None] * 6


def test_the_least_max_frame_size_is_taken_and_a_lesser_one_is_not() -> None:
    assert read_open(Fields(0x10, ["c", None, MIN_FRAME])).max_frame_size == MIN_FRAME
    with pytest.raises(PeerError) as caught:
        read_open(Fields(0x10, ["c", None, MIN_FRAME - 1]))
    assert caught.value.condition.name == "amqp:invalid-field"


def test_one_capability_may_stand_without_a_list_around_it() -> None:
    """Section 1.4."""
    peer = read_open(Fields(0x10, ["c", *[None] * 6, Symbol("A"), [Symbol("B"), Symbol("C")]])).peer
    assert (peer.offered, peer.desired) == (("A",), ("B", "C"))
