from __future__ import annotations

import pytest

import macaque
from macaque.dead_letter import DeadLetter, encode_dead_letter
from macaque.dead_lettering import keep_dead_letters
from macaque.dead_letters import DeadLetters
from macaque.envelope import encode_notice
from macaque.exchange import Exchange
from mqlight.addresses import Addresses
from processes import Server, wait_until


def keep(url: str, *ids: str) -> None:
    """Have the broker keep dead letters of the service at `work` with these ids."""
    with Exchange(Addresses.of(url), lambda: 10.0) as exchange:
        keep_dead_letters(exchange.connection, "keeper")
        for number in ids:
            message = encode_notice(number, "work", number, "me", now=0.0, ttl=None)
            letter = DeadLetter(id=number, endpoint="work", topic="work", reason="no", count=5, time=0, message=message)
            assert exchange.outcome(exchange.publish("macaque/dead/work", encode_dead_letter(letter)))


def ids(url: str) -> list[str]:
    with DeadLetters(url) as box:
        return [letter.id for letter in box.letters]


def test_they_are_read_the_oldest_first_and_given_back(server: Server) -> None:
    keep(server.url, "a", "b", "c")
    assert ids(server.url) == ids(server.url) == ["a", "b", "c"]


def test_one_that_is_dropped_is_gone(server: Server) -> None:
    keep(server.url, "a", "b")
    with DeadLetters(server.url) as box:
        assert box.drop(["b", "unknown"]) == ["b"]
    assert ids(server.url) == ["a"]


def test_one_that_is_replayed_is_a_request_again_and_one_that_nobody_takes_stays(server: Server) -> None:
    keep(server.url, "a", "b")
    with DeadLetters(server.url) as box:
        assert box.replay(["a"]) == ([], {"a": "no service listens on work; start it first"})
    done: list[str] = []
    app = macaque.Server(server.url)
    app.service("work", share_id="w")(done.append)
    with app, DeadLetters(server.url) as box:
        assert box.replay(["a"]) == (["a"], {})
        wait_until(lambda: done == ["a"])
    assert ids(server.url) == ["b"]


def test_without_a_broker_there_are_none() -> None:
    with pytest.raises(macaque.ConnectionLost, match="No connection to the broker"):
        with DeadLetters("amqp://127.0.0.1:1", timeout=5.0):
            pass
