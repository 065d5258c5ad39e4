"""The messages that a client holds, and their fate."""

from __future__ import annotations

import pytest

from mqlight.amqp.types import Condition
from mqlight.server.broker import Broker, Limits
from mqlight.server.client import MEASURED, TOPICS
from server.clients import Client, Server, text

STOLEN = Condition("amqp:link:stolen", "ServerContext_Takeover: somebody else")


@pytest.fixture
def server() -> Server:
    """A server without clients."""
    return Server()


@pytest.fixture
def client(server: Server) -> Client:
    """A client that is connected."""
    return server.client()


def test_the_topics_of_a_client_that_may_send_to_many_do_not_fill_the_memory(server: Server, client: Client) -> None:
    link = client.publisher(None)
    for number in range(TOPICS + 10):
        client.send(link, text("m", f"t/{number}"), settled=True)
    assert len(client.connection.client.refusals) <= TOPICS


def test_a_client_that_does_not_read_is_given_no_more_until_it_does(server: Server) -> None:
    server.limits = Limits(unread=1000)
    deaf, sender = server.client("deaf"), server.client("sender")
    deaf.listen("private:t", credit=100)
    link = sender.publisher("t")
    server.clients.remove(deaf)
    for number in range(20):
        sender.send(link, text(f"{number}" + "x" * 100), number)
    (destination,) = server.broker.destinations.values()
    assert 8 <= destination.count <= 14
    server.clients.append(deaf)
    server.run()
    assert len(deaf.bodies) == 20 and not destination.queue


def test_output_that_many_clients_do_not_read_counts_as_memory() -> None:
    server = Server()
    server.limits = Limits(memory=4_000_000)
    server.broker = Broker(server.limits)
    deaf = [server.client(f"deaf{number}") for number in range(40)]
    for client in deaf:
        client.listen("private:t", credit=100_000, at_most_once=True)
    sender = server.client("sender")
    link = sender.publisher("t")
    for client in deaf:
        server.clients.remove(client)
    for _ in range(200):
        sender.send(link, text("x" * 10_000), settled=True)
    unread = sum(client.connection.engine.pending() for client in deaf)
    assert unread < 4_000_000 // 4 + 41 * MEASURED
    assert abs(server.broker.capacity.unsent - unread) < 41 * MEASURED
    for client in deaf:
        client.connection.end_of_input(server.now)
    assert server.broker.capacity.unsent == 0


def test_giving_back_goes_on_with_the_other_links_whatever_one_of_them_does(server: Server, client: Client) -> None:
    for name in "abc":
        client.listen(f"share:s:{name}", ttl=60)
        client.send(client.publisher(name), text(name))
    (b,) = [each for name, each in server.broker.destinations.items() if name.pattern == "b"]
    b.consumers.clear()  # so that to take its consumer out is a fault
    server.cut(client)
    counts = {name.pattern: each.count for name, each in server.broker.destinations.items()}
    assert counts == {"a": 1, "b": 0, "c": 1}
