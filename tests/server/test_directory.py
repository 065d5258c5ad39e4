"""The number of destinations, and their owners."""

from __future__ import annotations

import pytest

from mqlight.server.destination import Destination, DestinationName, Owner
from mqlight.server.directory import Directory
from mqlight.server.limits import Limits
from server.test_control import add, numbers
from server.world import World


@pytest.fixture
def world() -> World:
    made = World(Limits(destinations=6, destinations_per_user=4, destinations_per_client=2))
    add(made, "a", "fish", "f1")
    add(made, "b", "fish", "f2", stays=True)
    add(made, "c", None, "x")
    made.publish("m", topic="a")
    return made


def test_a_client_id_may_make_so_many_destinations_and_its_user_goes_on_with_another(world: World) -> None:
    add(world, "d", "fish", "f1")
    excess = world.broker.directory.excess(Owner("fish", "f1"))
    assert excess is not None and excess.name == "amqp:resource-limit-exceeded"
    assert "the client id 'f1' has 2 destinations already" in excess.description
    assert "--max-destinations-per-client 2" in excess.description
    assert world.broker.directory.excess(Owner("fish", "f3")) is None
    assert world.broker.directory.excess(Owner("bird", "f1")) is None, (
        "another user of that client id has its own number"
    )


def test_a_user_may_make_so_many_destinations_and_another_one_goes_on(world: World) -> None:
    for name in ("f3", "f4"):
        add(world, "d", "fish", name)
    excess = world.broker.directory.excess(Owner("fish", "f5"))
    assert excess is not None and "the user 'fish' has 4 destinations already" in excess.description
    assert "--max-destinations-per-user 4" in excess.description
    assert world.broker.directory.excess(Owner("bird", "b")) is None
    add(world, "e", None, "y")
    assert "the server has 6 destinations already" in str(world.broker.directory.excess(Owner("bird", "b")))


def test_a_destination_that_is_gone_no_longer_counts(world: World) -> None:
    for name in ("f3", "f4"):
        add(world, "d", "fish", name)
    world.wait(61)
    assert world.broker.directory.excess(Owner("fish", "f5")) is None
    assert numbers(world) == [2] and dict(world.broker.directory._of_client) == {Owner("fish", "f2"): 1}
    assert dict(world.broker.directory._of_user) == {"fish": 1}


def test_anonymous_clients_count_as_one_user() -> None:
    world = World(Limits(destinations_per_user=1))
    add(world, "c", None, "x")
    assert "anonymous clients have 1 destinations already" in str(world.broker.directory.excess(Owner(None, "y")))


def test_a_destination_is_found_by_name_topic_and_link_until_it_is_removed() -> None:
    directory = Directory(Limits())
    name = DestinationName("a/+", client_id="c", link="l")
    made = Destination(name, 1)
    directory.add(made)
    assert directory.by_name == {name: made}
    assert list(directory.by_topic.find("a/b")) == [made] and not directory.by_topic.find("b")
    assert directory.lasting("c", "l") is made and directory.lasting("c", "m") is None
    directory.remove(made)
    assert not directory.by_name and not directory.by_topic.find("a/b") and directory.lasting("c", "l") is None
