"""The connected clients of a server, by address and by client id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mqlight.server.limits import Limits
from mqlight.server.permissions import EVERYTHING, User
from server.sockets import House


@pytest.fixture
def house() -> Iterator[House]:
    """A server with room for three clients, and for two of one address."""
    made = House(Limits(connections=3, connections_per_address=2))
    yield made
    made.close()


def test_there_is_room_for_so_many_clients_of_an_address_and_of_all(house: House) -> None:
    first, _ = house.connect("10.0.0.1")
    house.connect("10.0.0.1")
    excess = house.clients.excess("10.0.0.1")
    assert excess is not None and "10.0.0.1 has 2 connections already" in excess.description
    assert house.clients.excess("10.0.0.2") is None
    house.connect("10.0.0.2")
    excess = house.clients.excess("10.0.0.3")
    assert excess is not None and "the server has 3 connections already" in excess.description
    first.close()
    assert house.clients.excess("10.0.0.1") is None and first.client not in house.clients.sockets


def test_the_second_client_of_an_id_replaces_the_first(house: House) -> None:
    first, peer = house.connect(client_id="c")
    second, _ = house.connect(client_id="c")
    house.flush()
    peer.until(lambda: bool(peer.end.all("close")))
    (condition,) = peer.end.one("close")
    assert condition.name == "amqp:link:stolen" and second.client.address in condition.description
    peer.until(lambda: first.client.closed)
    assert not second.client.closed


def test_the_id_of_another_user_is_refused(house: House) -> None:
    first, _ = house.connect(client_id="c")
    house.answer = User("ann", EVERYTHING)
    second, peer = house.connect(client_id="c")
    peer.until(lambda: bool(peer.end.all("close")))
    (condition,) = peer.end.one("close")
    assert "the client id c is in use by another user" in condition.description
    assert not first.client.closed


def test_an_id_is_free_again_when_its_client_is_gone(house: House) -> None:
    first, _ = house.connect(client_id="c")
    first.close()
    house.answer = User("ann", EVERYTHING)
    second, peer = house.connect(client_id="c")
    assert not second.client.closed and second.client.client_id == "c"
