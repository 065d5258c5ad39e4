"""The links that a client attaches, and what the server grants."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from mqlight.amqp.types import Condition, Outcome, Terminus
from mqlight.server.sources import MAX_TTL, OUTCOMES
from server.clients import Client, Server, listen_anywhere, restricted, text

STOLEN = Condition("amqp:link:stolen", "ServerContext_Takeover: somebody else")


@pytest.fixture
def server() -> Server:
    """A server without clients."""
    return Server()


@pytest.fixture
def client(server: Server) -> Client:
    """A client that is connected."""
    return server.client()


@pytest.mark.parametrize(
    "address",
    [
        "private:a/+",
        "share:s:a/+",
        "a/+",
        "share:s:a:b/#",
        "private:private:x",
        "share::a/+",
        "private:tö/ /😀",
        "other:a",
    ],
)
def test_source_and_target_come_back(client: Client, address: str) -> None:
    link = client.listen(address, ttl=60)
    assert replace(link.source, outcomes=()) == link.target == Terminus(address, timeout=60)
    assert link.source.outcomes == OUTCOMES
    assert not link.closed


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("private:a/+", "private:a/+"),
        ("a/+", "private:a/+"),
        ("share:s:a/+", "share:s:a/+"),
        ("share:s:a:b/+", "share:s:a:b/+"),
        ("share::a/+", "private:a/+"),
        ("private:share:s:a", "private:share:s:a"),
        ("other:a", "private:other:a"),
    ],
)
def test_an_address_names_a_destination(server: Server, client: Client, address: str, name: str) -> None:
    client.listen(address)
    (destination,) = server.broker.destinations
    assert str(destination) == name


def test_private_destinations_are_each_clients_own(server: Server) -> None:
    clients = [server.client(name) for name in "ab"]
    for one in clients:
        one.listen("private:t")
    clients[0].send(clients[0].publisher("t"), text("m"))
    assert [one.bodies for one in clients] == [["m"], ["m"]]


def test_a_share_is_everybodys(server: Server) -> None:
    clients = [server.client(name) for name in "ab"]
    for one in clients:
        one.listen("share:s:t")
    link = clients[0].publisher("t")
    for body in "mn":
        clients[0].send(link, text(body))
    assert [one.bodies for one in clients] == [["m"], ["n"]]


@pytest.mark.parametrize(
    ("address", "ttl", "name", "words"),
    [
        ("private:t", MAX_TTL + 1, "amqp:not-allowed", "_InvalidSourceTimeout: a time to live of 2592001 s"),
        ("share:s", 0, "amqp:not-allowed", "'share:s' is not share:SHARE:PATTERN"),
        ("share:" + "s" * 9000, 0, "amqp:not-allowed", "ss' is not share:SHARE:PATTERN"),
        ("private:", 0, "amqp:not-allowed", "empty"),
        ("", 0, "amqp:not-", "pattern"),
        ("share:s:", 0, "amqp:not-allowed", "empty"),
        ("private:" + "x" * 20_000, 0, "amqp:not-allowed", "limit is 10237"),
        ("private:" + "#/" * 20, 0, "amqp:not-allowed", "more than 16 levels of '#'"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused_with_a_sentence(
    server: Server, client: Client, address: str, ttl: int, name: str, words: str
) -> None:
    link = client.listen(address, ttl=ttl)
    gone, closed, condition, _ = client.one("detach")
    assert gone is link and closed
    assert condition.name.startswith(name) and words in condition.description and len(condition.description) < 300
    assert server.broker.destinations == {} and not client.connection.closed
    client.listen("private:fine")
    assert len(client.all("detach")) == 1


def test_the_longest_time_to_live_is_taken(client: Client) -> None:
    assert not client.listen("private:t", ttl=MAX_TTL).closed


def test_a_dynamic_source_is_a_topic_for_replies_whose_name_the_client_is_told(server: Server) -> None:
    client, service = server.client("client"), server.client("service")
    link = listen_anywhere(client)
    address = link.source.address
    assert address is not None and re.fullmatch("response/[0-9a-f]{32}", address)
    assert link.source.dynamic
    service.send(service.publisher(None), text("reply", address))
    assert client.bodies == ["reply"]
    link.detach()
    server.run()
    assert server.broker.destinations == {}


def test_every_dynamic_source_has_a_name_of_its_own(server: Server) -> None:
    addresses = {listen_anywhere(server.client(name)).source.address for name in "abc"}
    assert len(addresses) == 3


def test_a_dynamic_target_is_made(server: Server, client: Client) -> None:
    sender = client.engine.attach_sender("s", Terminus(None, dynamic=True))
    server.run()
    assert str(sender.target.address).startswith("response/")
    assert len(server.broker.destinations) == 1
    server.cut(client)
    assert server.broker.destinations == {}


def test_transactions_are_refused(server: Server, client: Client) -> None:
    client.engine.attach_sender("s", Terminus(None, coordinator=True))
    server.run()
    assert client.one("detach")[2] == Condition("amqp:not-implemented", "this server has no transactions")


def test_what_may_not_be_sent_is_rejected_on_a_link_that_is_accepted(server: Server) -> None:
    client = restricted(server, send=("a", "r/{client}"))
    for link, topic in ((client.publisher("b"), None), (client.publisher(None), "b")):
        client.send(link, text("m", topic), "token")
        assert not link.closed
        _, token, outcome, condition = client.all("outcome")[-1]
        assert (token, outcome, condition.name) == ("token", Outcome.REJECTED, "amqp:not-allowed")
        assert " 2035 the user 'fish' may not send to 'b'" in condition.description
    for topic in ("a", "r/c"):
        client.send(client.publisher(topic), text("m"), topic)
        assert client.outcomes[-1] == (topic, Outcome.ACCEPTED)


def test_what_may_not_be_subscribed_to_is_refused(server: Server) -> None:
    client = restricted(server, subscribe=("a/#",))
    assert not client.listen("share:s:a/+").closed
    client.listen("private:#")
    condition = client.one("detach")[2]
    assert condition.name == "amqp:not-allowed" and " 2035 " in condition.description
    assert len(server.broker.destinations) == 1


def test_a_topic_that_the_server_makes_up_needs_no_permission(server: Server) -> None:
    client = restricted(server)
    assert not listen_anywhere(client).closed and len(server.broker.destinations) == 1
