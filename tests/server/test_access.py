"""Who may try to come in, from where, and what a wrong password costs."""

from __future__ import annotations

import pytest

from mqlight.server.access import (
    FORGIVEN,
    LONGEST_DELAY,
    MOST_ADDRESSES,
    MOST_AT_ONCE,
    Failures,
    Visitor,
    is_loopback,
    refusal,
    refusal_to_listen,
)
from mqlight.server.sasl import Identity

PLAIN = Identity("PLAIN", "fish", "swim")
ANONYMOUS = Identity("ANONYMOUS")
EXTERNAL = Identity("EXTERNAL")
NEAR, FAR = Visitor("127.0.0.1"), Visitor("192.0.2.1")
SAFE, KNOWN = Visitor("192.0.2.1", tls=True), Visitor("192.0.2.1", tls=True, certificate="fish")


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("nonsense", False),
    ],
)
def test_what_is_of_this_machine_alone(address: str, near: bool) -> None:
    assert is_loopback(address) is near


@pytest.mark.parametrize(
    ("identity", "visitor", "users", "anonymous", "words"),
    [
        (ANONYMOUS, NEAR, False, False, None),
        (PLAIN, NEAR, False, False, None),
        (ANONYMOUS, FAR, False, False, "asks for a user"),
        (ANONYMOUS, FAR, False, True, None),
        (ANONYMOUS, NEAR, True, False, "asks for a user"),
        (ANONYMOUS, NEAR, True, True, None),
        (ANONYMOUS, SAFE, True, False, "asks for a user"),
        (ANONYMOUS, KNOWN, True, False, None),
        (PLAIN, NEAR, True, False, None),
        (PLAIN, FAR, True, False, "without TLS"),
        (PLAIN, FAR, True, True, "without TLS"),
        (PLAIN, FAR, False, True, "without TLS"),
        (PLAIN, SAFE, True, False, None),
        (PLAIN, SAFE, False, False, "has no users"),
        (PLAIN, SAFE, False, True, None),
        (EXTERNAL, SAFE, True, True, "needs a client certificate"),
        (EXTERNAL, NEAR, False, False, "needs a client certificate"),
        (EXTERNAL, KNOWN, True, False, None),
    ],
)
def test_who_may_try(
    identity: Identity, visitor: Visitor, users: bool, anonymous: bool, words: str | None
) -> None:
    why = refusal(identity, visitor, users=users, allow_anonymous=anonymous)
    assert (why is None) if words is None else (why is not None and words in why)


def test_a_server_for_everybody_listens_on_this_machine_unless_it_is_meant() -> None:
    assert refusal_to_listen("127.0.0.1", users=False, allow_anonymous=False) is None
    reason = refusal_to_listen("0.0.0.0", users=False, allow_anonymous=False)
    assert reason is not None and "--users" in reason and "--allow-anonymous" in reason
    assert refusal_to_listen("0.0.0.0", users=True, allow_anonymous=False) is None
    assert refusal_to_listen("0.0.0.0", users=False, allow_anonymous=True) is None


def test_each_failure_costs_more_until_there_is_peace() -> None:
    failures = Failures()
    costs = [failures.failed("192.0.2.1", 1000.0 + number) for number in range(8)]
    assert costs == [0.25, 0.5, 1.0, 2.0, 4.0, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY]
    assert failures.failed("192.0.2.2", 1008.0) == 0.25, "another address does not pay for it"
    assert failures.failed("192.0.2.1", 1008.0 + FORGIVEN) == 0.25


def test_a_network_of_ipv6_is_one_address() -> None:
    failures = Failures()
    assert [failures.failed(f"2001:db8::{n}", 1.0) for n in range(1, 4)] == [0.25, 0.5, 1.0]
    assert failures.failed("2001:db8:0:1::1", 1.0) == 0.25
    assert failures.failed("::ffff:192.0.2.1", 1.0) == failures.failed("::ffff:192.0.2.2", 1.0) == 0.25


def test_so_many_of_an_address_are_looked_at_at_once_and_no_more() -> None:
    failures = Failures()
    assert all(failures.begin("192.0.2.1") for _ in range(MOST_AT_ONCE))
    assert not failures.begin("192.0.2.1") and failures.begin("192.0.2.2")
    failures.end("192.0.2.1")
    assert failures.begin("192.0.2.1") and not failures.begin("192.0.2.1")


def test_a_million_addresses_do_not_fill_the_memory() -> None:
    failures = Failures()
    for number in range(MOST_ADDRESSES + 500):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        assert failures.begin(address)
        failures.failed(address, 1.0)
        failures.end(address)
    assert len(failures._failed) == MOST_ADDRESSES and not failures._busy
