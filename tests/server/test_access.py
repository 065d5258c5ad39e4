"""The clients that may try to log in, and their addresses."""

from __future__ import annotations

import pytest

from mqlight.server.access import (
    Visitor,
    is_loopback,
    network,
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
        (ANONYMOUS, FAR, False, False, "needs a user"),
        (ANONYMOUS, FAR, False, True, None),
        (ANONYMOUS, NEAR, True, False, "needs a user"),
        (ANONYMOUS, NEAR, True, True, None),
        (ANONYMOUS, SAFE, True, False, "needs a user"),
        (ANONYMOUS, KNOWN, True, False, None),
        (PLAIN, NEAR, True, False, None),
        (PLAIN, FAR, True, False, "passwords over TLS only"),
        (PLAIN, FAR, True, True, "passwords over TLS only"),
        (PLAIN, FAR, False, True, "passwords over TLS only"),
        (PLAIN, SAFE, True, False, None),
        (PLAIN, SAFE, False, False, "has no users"),
        (PLAIN, SAFE, False, True, None),
        (EXTERNAL, SAFE, True, True, "needs a client certificate"),
        (EXTERNAL, NEAR, False, False, "needs a client certificate"),
        (EXTERNAL, KNOWN, True, False, None),
    ],
)
def test_who_may_try(identity: Identity, visitor: Visitor, users: bool, anonymous: bool, words: str | None) -> None:
    why = refusal(identity, visitor, users=users, allow_anonymous=anonymous)
    assert (why is None) if words is None else (why is not None and words in why)


def test_a_server_for_everybody_listens_on_this_machine_unless_it_is_meant() -> None:
    assert refusal_to_listen("127.0.0.1", users=False, allow_anonymous=False) is None
    reason = refusal_to_listen("0.0.0.0", users=False, allow_anonymous=False)
    assert reason is not None and "--users" in reason and "--allow-anonymous" in reason
    assert refusal_to_listen("0.0.0.0", users=True, allow_anonymous=False) is None
    assert refusal_to_listen("0.0.0.0", users=False, allow_anonymous=True) is None


TRUSTED = (network("192.0.2.0/24"), network("2001:db8::/64"))


@pytest.mark.parametrize(
    ("address", "users", "identity", "words"),
    [
        ("192.0.2.7", False, ANONYMOUS, None),
        ("192.0.2.7", False, PLAIN, None),
        ("192.0.2.7", True, PLAIN, None),
        ("::ffff:192.0.2.7", True, PLAIN, None),
        ("2001:db8::7", False, ANONYMOUS, None),
        ("192.0.2.7", True, ANONYMOUS, "needs a user"),
        ("198.51.100.1", False, ANONYMOUS, "needs a user"),
        ("198.51.100.1", True, PLAIN, "passwords over TLS only"),
        ("2001:db8:0:1::7", False, ANONYMOUS, "needs a user"),
        ("nonsense", False, ANONYMOUS, "needs a user"),
    ],
)
def test_a_client_of_a_trusted_network_counts_as_one_on_this_machine(
    address: str, users: bool, identity: Identity, words: str | None
) -> None:
    why = refusal(identity, Visitor(address), users=users, allow_anonymous=False, networks=TRUSTED)
    assert (why is None) if words is None else (why is not None and words in why)


def test_a_server_with_a_trusted_network_listens_everywhere() -> None:
    assert refusal_to_listen("0.0.0.0", users=False, allow_anonymous=False, networks=TRUSTED) is None


@pytest.mark.parametrize("text", ["10.0.0.1/8", "everywhere", "10.0.0.0/33", ""])
def test_a_network_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a network such as") as caught:
        network(text)
    assert repr(text) in str(caught.value)
