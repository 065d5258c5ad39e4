"""What the server does for a client, frame by frame and without a socket."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqlight.amqp.frames import AMQP_HEADER, SASL_HEADER
from mqlight.amqp.message import decode, encode
from mqlight.amqp.types import Condition, Outcome, Terminus
from mqlight.server.broker import Broker, Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.protocol import FAREWELL, MEASURED, TOPICS
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


# The connection


def test_a_client_learns_what_the_server_offers(server: Server, client: Client) -> None:
    (peer,) = client.one("open")
    assert peer.offered == ("ANONYMOUS-RELAY",) and peer.properties == {"product": "p"}
    assert server.named == [client.connection] and client.connection.client_id == "c"


def test_a_client_without_sasl_comes_in(server: Server) -> None:
    connection = Client(server, "raw").connection
    connection.receive(AMQP_HEADER + bytes.fromhex("0000001102000000 005310 c00401a10163"), server.now)
    assert connection.client_id == "c"
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
    assert connection.client_id == "c"


def test_a_login_that_is_refused_ends_the_connection(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    assert server.client("ann", user="ann", password="right").connection.client_id == "ann"
    refused = server.client("bob", user="bob", password="wrong")
    assert refused.connection.closed and refused.connection.client_id == ""
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


# Addresses


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
    assert condition.name.startswith(name) and words in condition.description
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


def test_giving_back_goes_on_with_the_other_links_whatever_one_of_them_does(server: Server, client: Client) -> None:
    for name in "abc":
        client.listen(f"share:s:{name}", ttl=60)
        client.send(client.publisher(name), text(name))
    (b,) = [each for name, each in server.broker.destinations.items() if name.pattern == "b"]
    b.consumers.clear()  # so that to take its consumer out is a fault
    server.cut(client)
    counts = {name.pattern: each.count for name, each in server.broker.destinations.items()}
    assert counts == {"a": 1, "b": 0, "c": 1}


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
    client.connection.tick(server.now + FAREWELL - 0.1)
    assert not client.connection.closed
    server.dirty.clear()
    client.connection.tick(server.now + FAREWELL)
    assert client.connection.closed and client.connection in server.dirty


# Permissions and limits


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


def test_the_topics_of_a_client_that_may_send_to_many_do_not_fill_the_memory(server: Server, client: Client) -> None:
    link = client.publisher(None)
    for number in range(TOPICS + 10):
        client.send(link, text("m", f"t/{number}"), settled=True)
    assert len(client.connection._topics) <= TOPICS


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
    assert client.one("close") == [server.refusal] and client.connection.client_id == ""


def test_a_login_may_be_decided_later(server: Server) -> None:
    server.check = lambda identity: None  # type: ignore[method-assign]
    client = server.client("ann", user="ann", password="right")
    assert client.connection.pending and client.all("open") == []
    client.connection.decide(User("ann", EVERYTHING), server.now)
    server.run()
    assert client.connection.client_id == "ann" and len(client.all("open")) == 1


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
    assert abs(server.broker.unsent - unread) < 41 * MEASURED
    for client in deaf:
        client.connection.end_of_input(server.now)
    assert server.broker.unsent == 0
