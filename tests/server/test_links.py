"""The links of the server's clients, frame by frame and without a socket."""

from __future__ import annotations

import pytest

from mqlight.amqp.capabilities import RELEASE_UNROUTED
from mqlight.amqp.message import encode
from mqlight.amqp.types import Outcome
from mqlight.server.broker import Limits
from mqlight.server.links import SENDER_CREDIT, ConsumerLink, Publisher
from server.clients import Client, Server, restricted, text


@pytest.fixture
def server() -> Server:
    """A server without clients."""
    return Server()


@pytest.fixture
def client(server: Server) -> Client:
    """A client that is connected."""
    return server.client()


@pytest.mark.parametrize(
    ("topic", "relay"), [("x" * 10_238, False), ("x/" * 200 + "x", False), ("x/" * 200 + "x", True)]
)
def test_a_message_to_a_topic_over_a_limit_is_rejected_by_itself(client: Client, topic: str, relay: bool) -> None:
    link = client.publisher(None if relay else topic)
    for token in "first", "second":
        client.send(link, text("m", topic if relay else None), token)
    assert client.outcomes == [("first", Outcome.REJECTED), ("second", Outcome.REJECTED)]
    assert client.all("detach") == []


@pytest.mark.parametrize("topic", ["t", "a/#", "/ä b", "amqp://x/y", "private:t"])
def test_the_topic_is_the_target(server: Server, client: Client, topic: str) -> None:
    client.listen("private:#")
    link = client.publisher(topic)
    client.send(link, text("m", "amqp://host:1/something-else"))
    client.send(link, text("n"))
    assert client.bodies == ["m", "n"]
    assert client.received[1].to == topic


def test_without_a_target_the_topic_is_in_each_message(client: Client) -> None:
    client.listen("private:a/+")
    link = client.publisher(None)
    for topic in ("a/1", "b/2", "amqp://host:1/a/3", "amqp:///a/4"):
        client.send(link, text(topic, topic), topic)
    assert client.bodies == ["a/1", "amqp://host:1/a/3", "amqp:///a/4"]
    assert [outcome for _, outcome in client.outcomes] == [Outcome.ACCEPTED] * 4


def test_without_target_and_topic_a_message_is_rejected(client: Client) -> None:
    client.send(client.publisher(None), text("m"), "token")
    _, token, outcome, condition = client.one("outcome")
    assert (token, outcome, condition.name) == ("token", Outcome.REJECTED, "amqp:decode-error")
    assert "no topic" in condition.description


def test_a_message_for_nobody_is_accepted(client: Client) -> None:
    client.send(client.publisher("t"), text("m"), "token")
    assert client.outcomes == [("token", Outcome.ACCEPTED)]


def test_a_message_for_nobody_is_released_when_its_sender_asked_for_that(server: Server, client: Client) -> None:
    link = client.publisher("t", RELEASE_UNROUTED)
    client.send(link, text("m"), "nobody")
    server.client("other").listen("private:t")
    client.send(link, text("m"), "somebody")
    assert client.outcomes == [("nobody", Outcome.RELEASED), ("somebody", Outcome.ACCEPTED)]


def test_a_settled_message_has_no_outcome(client: Client) -> None:
    client.listen("private:t")
    client.send(client.publisher("t"), text("m"), settled=True)
    assert client.bodies == ["m"] and client.outcomes == []


def test_a_malformed_message_is_rejected_and_the_connection_lives_on(client: Client) -> None:
    client.listen("private:t")
    link = client.publisher("t")
    client.send(link, b"\x00Sw\xa1\xffcut off", "bad")
    client.send(link, b"\xff\xff", "worse", settled=True)
    client.send(link, text("fine"), "good")
    assert client.outcomes == [("bad", Outcome.REJECTED), ("good", Outcome.ACCEPTED)]
    condition = client.all("outcome")[0][3]
    assert condition.name == "amqp:decode-error" and condition.description
    assert client.bodies == ["fine"] and not client.connection.closed


def test_a_full_destination_is_the_senders_outcome() -> None:
    client = Server(Limits(queue_messages=1)).client()
    client.listen("private:t", credit=0)
    link = client.publisher("t")
    client.send(link, text("a"), 1)
    client.send(link, text("b"), 2)
    assert client.outcomes == [(1, Outcome.ACCEPTED), (2, Outcome.REJECTED)]
    condition = client.all("outcome")[1][3]
    assert condition.name == "amqp:resource-limit-exceeded" and "private:t" in condition.description


def test_a_message_that_is_too_large_costs_the_link_and_not_the_connection(client: Client) -> None:
    client.send(client.publisher("t"), text("x" * 11_000))
    assert client.one("detach")[2].name == "amqp:link:message-size-exceeded"
    client.listen("private:t")
    client.send(client.publisher("t"), text("fine"))
    assert client.bodies == ["fine"]


def test_a_senders_credit_is_topped_up_before_it_runs_out(client: Client) -> None:
    link = client.publisher("t")
    assert link.credit == SENDER_CREDIT
    lowest = SENDER_CREDIT
    for _ in range(2 * SENDER_CREDIT):
        client.send(link, text("m"), settled=True)
        lowest = min(lowest, link.credit)
    assert lowest >= SENDER_CREDIT // 2


def test_one_message_more_than_the_credit_is_tolerated(server: Server, client: Client) -> None:
    """Node.js counts its initial delivery count as credit."""
    client.listen("private:t", credit=5000)
    link = client.publisher("t")
    for number in range(SENDER_CREDIT + 1):
        link.send(encode(text(str(number))), number)
    server.run()
    assert len(client.outcomes) == len(client.bodies) == SENDER_CREDIT + 1
    assert not client.connection.closed


def test_a_settled_message_that_is_refused_costs_its_anonymous_link(server: Server) -> None:
    """Anonymous Terminus 1.0, section 2.2.2: its sender can be told by nothing else."""
    client = restricted(server, send=("mine",))
    link = client.publisher(None)
    client.send(link, text("fine", "mine"), settled=True)
    assert not link.closed
    client.send(link, text("no", "theirs"), settled=True)
    (detached, closed, condition, _) = client.one("detach")
    assert detached is link and closed and condition.name == "amqp:not-allowed"


def test_every_delivery_has_a_header_a_topic_and_a_value(client: Client) -> None:
    client.listen("private:t")
    link = client.publisher("t")
    client.send(link, b"\x00Su\xa0\x05bytes")
    client.send(link, b"\x00Ss\xc0\x01\x00")
    assert [data[:3] for data in client.messages] == [b"\x00Sp"] * 2
    assert [message.to for message in client.received] == ["t", "t"]
    assert client.bodies == [b"bytes", ""]


def test_what_is_left_of_a_messages_time_is_told(server: Server, client: Client) -> None:
    link = client.listen("private:t", credit=0)
    client.send(client.publisher("t"), text("m", ttl=5000, priority=7, durable=True))
    server.now += 2
    link.flow(1)
    server.run()
    (message,) = client.received
    assert (message.ttl, message.priority, message.durable, message.delivery_count) == (3000, 7, True, 0)


def test_what_is_left_of_a_time_to_live_always_fits_into_a_header(server: Server, client: Client) -> None:
    """A clock that was set back while the server was down makes it longer than any."""
    client.listen("private:t", ttl=60, credit=0)
    client.send(client.publisher("t"), text("m"))
    (destination,) = server.broker.destinations.values()
    (queued,) = destination.waiting()
    queued.expires = server.now + 2**33
    client.listen("private:t", ttl=60)
    assert client.received[-1].ttl == 2**32 - 1


def test_a_message_given_out_in_vain_says_how_often(client: Client) -> None:
    client.listen("private:t")
    client.send(client.publisher("t"), text("m"))
    client.settle(0, Outcome.RELEASED)
    assert [message.delivery_count for message in client.received] == [0, 0]


@pytest.mark.parametrize("at_most_once", [True, False])
def test_the_subscriber_chooses_the_quality_of_service(client: Client, at_most_once: bool) -> None:
    client.listen("private:t", at_most_once=at_most_once)
    client.send(client.publisher("t"), text("m"))
    assert client.one("message")[3] is at_most_once


def test_a_receiver_is_not_given_more_than_its_credit(server: Server, client: Client) -> None:
    link = client.listen("private:t", credit=2)
    publisher = client.publisher("t")
    for body in "abcd":
        client.send(publisher, text(body))
    assert client.bodies == ["a", "b"]
    link.flow(1)
    server.run()
    assert client.bodies == ["a", "b", "c"]


def test_a_subscriber_is_given_no_more_than_it_may_hold(server: Server) -> None:
    server.limits = Limits(unsettled=3)
    client = server.client()
    client.listen("private:t", credit=100)
    link = client.publisher("t")
    for body in "abcdef":
        client.send(link, text(body), settled=True)
    assert client.bodies == ["a", "b", "c"]
    client.settle(0)
    client.settle(1)
    assert client.bodies == ["a", "b", "c", "d", "e"]


def test_a_drain_is_answered(server: Server, client: Client) -> None:
    link = client.listen("private:t", credit=5)
    link.stop_flow()
    server.run()
    assert link.credit == 0
    client.send(client.publisher("t"), text("m"))
    assert client.bodies == []
    link.flow(1)
    server.run()
    assert client.bodies == ["m"]


def test_a_drain_brings_what_waits_first(server: Server, client: Client) -> None:
    link = client.listen("private:t", credit=0)
    client.send(client.publisher("t"), text("m"))
    link.flow(5)
    link.stop_flow()
    server.run()
    assert client.bodies == ["m"] and link.credit == 0


def test_who_has_been_drained_gets_nothing_more_until_it_gives_credit_again(server: Server, client: Client) -> None:
    link = client.listen("share:w:t", credit=5)
    client.send(client.publisher("t"), text("m"))
    link.stop_flow()
    server.run()
    client.settle(0, Outcome.RELEASED)
    client.send(client.publisher("t"), text("n"))
    other = server.client("other")
    other.listen("share:w:t")
    assert (other.bodies, [message.delivery_count for message in other.received]) == (["m", "n"], [0, 0])


@pytest.mark.parametrize(("closed", "kept"), [(True, False), (False, True)])
def test_to_close_a_subscription_forgets_it_and_to_detach_keeps_it(
    server: Server, client: Client, closed: bool, kept: bool
) -> None:
    link = client.listen("private:t", ttl=60)
    link.detach(closed=closed)
    server.run()
    assert client.one("detach")[1] is closed
    assert bool(server.broker.destinations) is kept


def test_what_was_not_settled_goes_back_with_the_link(server: Server, client: Client) -> None:
    link = client.listen("share:s:t")
    other = server.client("other")
    other.listen("share:s:t", credit=0)
    client.send(client.publisher("t"), text("m"))
    link.detach()
    other.engine.links()[0].flow(1)
    server.run()
    assert other.bodies == ["m"] and other.received[0].delivery_count == 1


def test_a_link_that_fails_to_take_a_message_ends_its_own_connection_only(server: Server, client: Client) -> None:
    bad, other = server.client("bad"), server.client("other")
    bad.listen("share:s:t", ttl=60)

    def fail(*_: object) -> None:
        raise RuntimeError("this engine is broken")

    for consumer in next(iter(server.broker.destinations.values())).consumers:
        consumer.deliver = fail
    link = client.publisher("t")
    client.send(link, text("m"), "m")
    assert client.outcomes == [("m", Outcome.ACCEPTED)] and not client.connection.closed
    assert [condition.name for (condition,) in bad.all("close") if condition] == ["amqp:internal-error"]
    other.listen("share:s:t", ttl=60)
    assert other.bodies == ["m"]


def publisher_of(client: Client) -> Publisher:
    """Return the handler of the only link that the client sends on."""
    (served,) = [each for each in client.connection.client.served.values() if isinstance(each, Publisher)]
    return served


def consumer_of(client: Client) -> ConsumerLink:
    """Return the handler of the only link that the client receives on."""
    (served,) = [each for each in client.connection.client.served.values() if isinstance(each, ConsumerLink)]
    return served


def test_a_publisher_counts_what_was_sent_and_its_connection_remembers_it(server: Server, client: Client) -> None:
    link = client.publisher("t")
    many = SENDER_CREDIT // 2 + 3
    for _ in range(many):
        client.send(link, text("m"), settled=True)
    assert publisher_of(client).sent == client.connection.client.messages_sent == many
    link.detach()
    server.run()
    assert client.connection.client.served == {} and client.connection.client.messages_sent == many


def test_a_paused_link_is_given_nothing_until_its_client_gives_credit(server: Server, client: Client) -> None:
    link = client.listen("private:t")
    consumer_of(client).pause()
    client.send(client.publisher("t"), text("m"))
    assert client.bodies == []
    link.flow(1)
    server.run()
    assert client.bodies == ["m"]


def test_the_broker_knows_which_message_a_client_has_begun_with(server: Server, client: Client) -> None:
    """Section 3.4.4."""
    client.listen("share:s:t", ttl=60)
    client.send(client.publisher("t"), text("m"))
    link, handle, *_ = client.one("message")
    assert link.mark_received(handle)
    server.run()
    (queued,) = consumer_of(client).link.unsettled.values()
    assert queued.begun


def test_what_comes_over_a_link_that_has_ended_is_ignored() -> None:
    server = Server()
    client = server.client()
    link = client.publisher("t")
    client.listen("private:t", credit=5)
    served = list(client.connection.client.served.values())
    assert {type(each) for each in served} == {Publisher, ConsumerLink}
    for each in served:
        each.end(forget=False)
        each.end(forget=False)
    assert client.connection.client.served == {} and server.broker.destinations == {}
    client.send(link, text("m"), 1)
    assert client.outcomes == [] and client.bodies == []
    for each in served:
        each.on_credit(each.link)
        each.on_outcomes(each.link, [None], Outcome.ACCEPTED, None)
