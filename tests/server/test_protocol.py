"""The server's end of a connection, frame by frame and without a socket."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqp.raw import attach, begin, performative
from mqlight.amqp.frames import AMQP_HEADER, SASL_HEADER
from mqlight.amqp.message import decode, encode
from mqlight.amqp.types import Condition, Outcome, Terminus
from mqlight.server.broker import Broker, Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.protocol import CLOSE_TIMEOUT
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


# The connection


def test_a_client_learns_what_the_server_offers(server: Server, client: Client) -> None:
    (peer,) = client.one("open")
    assert peer.offered == ("ANONYMOUS-RELAY",) and peer.properties == {"product": "p"}
    assert server.named == [client.connection.client] and client.connection.client.client_id == "c"


def test_a_client_without_sasl_comes_in(server: Server) -> None:
    connection = Client(server, "raw").connection
    connection.receive(AMQP_HEADER + bytes.fromhex("0000001102000000 005310 c00401a10163"), server.now)
    assert connection.client.client_id == "c"
    assert connection.output().startswith(AMQP_HEADER)


def test_a_client_that_waits_for_our_header_before_it_opens_gets_it(server: Server) -> None:
    """Node.js: it sends nothing before each reply is there."""
    connection = Client(server, "node").connection
    node = bytes.fromhex("0000001d02010000005341c01003a309414e4f4e594d4f5553a0010040")
    for sent, answer in ((SASL_HEADER, SASL_HEADER), (node, b"\x50\x00"), (AMQP_HEADER, AMQP_HEADER)):
        connection.receive(sent, server.now)
        got = b""
        while data := connection.output():
            connection.sent(len(data))
            got += data
        assert answer in got


def test_everything_may_come_in_one_packet(server: Server) -> None:
    connection = Client(server, "java").connection
    java = bytes.fromhex("0000001902010000005341c00c01a309414e4f4e594d4f5553")
    connection.receive(SASL_HEADER + java + AMQP_HEADER + bytes.fromhex("0000001102000000005310c00401a10163"), 1.0)
    assert connection.client.client_id == "c"


def test_a_login_that_is_refused_ends_the_connection(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    assert server.client("ann", user="ann", password="right").connection.client.client_id == "ann"
    refused = server.client("bob", user="bob", password="wrong")
    assert refused.connection.closed and refused.connection.client.client_id == ""
    (condition,) = refused.one("close")
    assert condition.name == "amqp:unauthorized-access"
    assert "PLAIN was refused for user 'bob'" in caplog.text and "wrong" not in caplog.text


def test_a_client_id_that_is_too_long_is_refused(server: Server) -> None:
    client = server.client("x" * 257)
    (condition,) = client.one("close")
    reason = "a client id of 257 characters is too long (--max-name-length 256)"
    assert condition == Condition("amqp:invalid-field", reason)
    assert server.named == []


def test_a_silent_client_is_cut_off_and_what_it_held_goes_back(server: Server, client: Client) -> None:
    client.listen("share:s:t", ttl=60)
    sender = server.client("sender")
    sender.send(sender.publisher("t"), text("m"))
    client.connection.tick(server.now)
    client.connection.tick(server.now + 3)
    assert client.connection.closed
    other = server.client("other")
    other.listen("share:s:t", ttl=60)
    assert other.bodies == ["m"]


def test_a_client_that_sends_heartbeats_stays(server: Server, client: Client) -> None:
    for _ in range(20):
        server.now += 1
        client.engine.tick(server.now)
        client.connection.tick(server.now)
        server.run()
    assert not client.connection.closed


# Leaving


@pytest.mark.parametrize("how", ["close", "cut", "garbage"])
def test_what_was_not_settled_goes_back_with_the_connection(server: Server, client: Client, how: str) -> None:
    client.listen("share:s:t", credit=1)
    other = server.client("other")
    client.send(client.publisher("t"), text("m"))
    other.listen("share:s:t")
    if how == "close":
        client.engine.close()
        server.run()
    elif how == "cut":
        client.connection.end_of_input(server.now)
        server.clients.remove(client)  # there is no socket for the rest of its output
    else:
        client.connection.receive(b"\x00\x00\x00\x01garbage", server.now)
    server.run()
    assert client.connection.closed
    assert other.bodies == ["m"]


def test_what_one_link_of_a_dying_connection_held_is_not_lost_on_another(server: Server, client: Client) -> None:
    for _ in range(2):
        client.listen("share:s:t", ttl=60, credit=10)
    link = client.publisher("t")
    for body in "abcdef":
        client.send(link, text(body))
    server.cut(client)
    (destination,) = server.broker.destinations.values()
    assert destination.count == 6 and destination.consumers == []


def test_one_clients_fault_does_not_disturb_another(server: Server, client: Client) -> None:
    other = server.client("other")
    other.listen("private:t")
    link = other.publisher("t")
    client.connection.receive(b"\x00\x00\x00\x01garbage", server.now)
    server.run()
    assert client.connection.closed and not other.connection.closed
    other.send(link, text("m"))
    assert other.bodies == ["m"]


# Takeover


def test_who_is_sent_away_is_told_why_and_what_it_held_is_free_at_once(server: Server, client: Client) -> None:
    client.listen("private:t", ttl=60)
    client.send(client.publisher("t"), text("m"))
    client.connection.close(STOLEN, server.now)
    new = server.client("c")
    new.listen("private:t", ttl=60)
    assert client.all("close") == [[STOLEN]]
    assert client.connection.closed
    assert new.bodies == ["m"]


def test_who_is_sent_away_may_be_in_the_middle_of_things(server: Server, client: Client) -> None:
    """It sends, settles, attaches and detaches until it has read that it is to go."""
    link = client.listen("private:t", ttl=60)
    publisher = client.publisher("t")
    client.send(publisher, text("held"))
    client.connection.close(STOLEN, server.now)
    publisher.send(encode(text("late")), "late")
    publisher.send(encode(text("late, settled")), None, True)
    link.settle(client.all("message")[0][1], Outcome.ACCEPTED)
    late = client.engine.attach_receiver("private:late", Terminus("private:late", timeout=60), at_most_once=False)
    client.engine.attach_sender("late", Terminus("late"))
    link.flow(10)
    late.flow(10)
    while data := client.output():
        client.sent(len(data))
        client.connection.receive(data, server.now)
    server.run()
    assert client.all("close") == [[STOLEN]] and client.outcomes == [(None, Outcome.ACCEPTED)]
    (destination,) = server.broker.destinations.values()
    assert [decode(b"\x00Sp\x45" + queued.rest).body for queued in destination.waiting()] == ["held"]


def test_who_does_not_go_is_cut_off(server: Server, client: Client) -> None:
    client.connection.close(STOLEN, server.now)
    client.connection.tick(server.now + CLOSE_TIMEOUT - 0.1)
    assert not client.connection.closed
    server.dirty.clear()
    client.connection.tick(server.now + CLOSE_TIMEOUT)
    assert client.connection.closed and client.connection.client in server.dirty


# Permissions and limits


def test_links_beyond_the_limit_are_refused_and_many_of_them_cost_the_connection(server: Server) -> None:
    server.limits = Limits(links=3)
    client = server.client()
    links = [client.engine.attach_sender(f"l{number}", Terminus("t")) for number in range(6)]
    server.run()
    conditions = [condition for _, _, condition, _ in client.all("detach")]
    assert [link.closed for link in links] == [False] * 3 + [True] * 3
    assert conditions[0] == Condition(
        "amqp:resource-limit-exceeded", "this connection has 3 links already (the server's limit is --max-links 3)"
    )
    links[0].detach()
    server.run()
    client.publisher("again")
    assert len(client.all("detach")) == 4, "there is room again"
    stubborn = server.client("stubborn")
    for number in range(7):
        stubborn.engine.attach_sender(f"l{number}", Terminus("t"))
    while data := stubborn.output():
        stubborn.sent(len(data))
        stubborn.connection.receive(data, server.now)
    server.run()
    (condition,) = stubborn.one("close")
    assert "--max-links 3" in condition.description


def test_the_links_of_a_client_that_is_sent_away_are_bounded_too(server: Server) -> None:
    server.limits = Limits(links=3)
    connection = Client(server, "c").connection
    connection.receive(AMQP_HEADER + performative(0x10, ["x" * 257]) + begin(), server.now)
    for number in range(20):
        connection.receive(attach(f"l{number}", number), server.now)
    assert len(connection.engine.links()) == 7 and not connection.closed


def test_memory_is_counted_over_all_destinations_and_what_is_unsettled(server: Server) -> None:
    limits = server.limits = Limits(memory=20_000)
    server.broker = Broker(limits)
    client = server.client()
    client.listen("private:a", credit=1)
    client.listen("private:b", credit=0, ttl=60)
    link = client.publisher(None)
    outcomes = []
    for number in range(12):
        server.now += 1
        client.send(link, text("x" * 2000, "ab"[number % 2]), number)
        outcomes.append(client.outcomes[-1][1])
    taken = outcomes.count(Outcome.ACCEPTED)
    assert outcomes == [Outcome.ACCEPTED] * taken + [Outcome.REJECTED] * (12 - taken) and 6 <= taken <= 8
    assert "--max-memory 20000" in client.all("outcome")[-1][3].description
    client.settle(0)  # one goes, another comes
    server.now += 1
    client.send(link, text("x" * 2000, "b"), "after")
    assert client.outcomes[-1] == ("after", Outcome.ACCEPTED)


def test_a_client_that_does_not_log_in_is_closed_in_time(server: Server) -> None:
    connection = Client(server, "c").connection
    connection.tick(server.now)
    connection.receive(SASL_HEADER, server.now + 5)
    connection.tick(server.now + 9.9)
    assert not connection.closed
    connection.tick(server.now + 10)
    assert connection.closed


def test_a_client_id_that_is_refused_is_told_why(server: Server) -> None:
    server.refusal = Condition("amqp:not-allowed", "taken")
    client = server.client()
    assert client.one("close") == [server.refusal] and client.connection.client.client_id == ""


def test_a_login_may_be_decided_later(server: Server) -> None:
    server.check = lambda identity: None  # type: ignore[method-assign]
    client = server.client("ann", user="ann", password="right")
    assert client.connection.pending and client.all("open") == []
    client.connection.decide(User("ann", EVERYTHING), server.now)
    server.run()
    assert client.connection.client.client_id == "ann" and len(client.all("open")) == 1


# Hostile bytes


@given(st.binary(max_size=100), st.sampled_from([b"", SASL_HEADER, AMQP_HEADER]), st.sampled_from([1, 1 << 20]))
@settings(max_examples=60, deadline=None)
def test_hostile_bytes_end_a_connection_and_nothing_else(data: bytes, begin: bytes, step: int) -> None:
    logging.disable(logging.WARNING)
    try:
        connection = Client(Server(), "c").connection
        data = begin + data
        for at in range(0, len(data), step):
            connection.receive(data[at : at + step], 1.0)
            while output := connection.output():
                connection.sent(len(output))
        connection.tick(2.0)
        connection.end_of_input(3.0)
        assert connection.closed
    finally:
        logging.disable(logging.NOTSET)


def test_a_second_login_is_not_served(server: Server) -> None:
    """Proton's own SASL server would take it, and crash on the last frame."""
    connection = Client(server, "c").connection
    node = bytes.fromhex("0000001d02010000005341c01003a309414e4f4e594d4f5553a0010040")
    connection.receive(SASL_HEADER + node, 1.0)
    connection.receive(SASL_HEADER, 1.0)
    connection.receive(bytes.fromhex("0000000d02010000 005341 c002 01 40"), 1.0)
    assert connection.closed


@pytest.mark.parametrize("idle", [0.25, 1.0, 3.0])
def test_a_client_says_at_its_open_that_it_is_in_a_hurry_for_heartbeats(server: Server, idle: float) -> None:
    client = server.client("c", heartbeat=2 * idle)
    assert client.connection.hurries
    due = client.connection.tick(server.now)
    assert due is not None and due <= server.now + idle / 2 + 0.01
