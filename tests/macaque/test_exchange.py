from __future__ import annotations

import queue

import pytest

from macaque.exchange import Exchange
from mqlight.addresses import Addresses
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, NetworkError
from mqlight.payload import pack
from processes import Server


def test_it_says_whether_a_subscription_gets_a_message(server: Server) -> None:
    with Exchange(Addresses.of(server.url), lambda: 10.0) as exchange:
        assert not exchange.send("t")
        exchange.subscribe("t", "s", ttl=60)
        assert exchange.send("t")
        exchange.forget()
        assert not exchange.send("t")


def test_several_messages_may_be_on_their_way(server: Server) -> None:
    got: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    with Exchange(Addresses.of(server.url), lambda: 10.0) as exchange:
        exchange.subscribe("t", ttl=60, credit=10, on_delivery=got.put)
        sent = [exchange.publish("t", pack("t", number, None)) for number in range(3)]
        for _ in range(3):
            got.get(timeout=10.0).accept()
        assert [exchange.outcome(each) for each in sent] == [True] * 3


def test_a_refusal_is_raised_with_the_brokers_words(server: Server) -> None:
    with Exchange(Addresses.of(server.url), lambda: 10.0) as exchange:
        with pytest.raises(MQLightError, match="time to live"):
            exchange.subscribe("t", "s", ttl=2**32 - 1)


def test_an_answer_that_does_not_come_in_time_is_a_lost_network(server: Server) -> None:
    left = 10.0
    with Exchange(Addresses.of(server.url), lambda: left) as exchange:
        left = 0.0
        with pytest.raises(NetworkError, match="did not answer within 0 s"):
            exchange.subscribe("t", "s", ttl=60)
        left = 10.0
