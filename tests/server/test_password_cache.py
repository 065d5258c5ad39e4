"""Passwords that were right a while ago."""

from __future__ import annotations

import pytest

from mqlight.server.password_cache import LONGEST, MOST, PasswordCache
from mqlight.server.users import PasswordRecord

RECORD = PasswordRecord(16384, 8, 1, b"salt", b"digest")


@pytest.fixture
def verified() -> PasswordCache:
    """The password "swim" of fish was right at 100 s."""
    made = PasswordCache(b"key")
    made.add("fish", RECORD, "swim", 100.0)
    return made


def test_a_password_that_was_right_is_known(verified: PasswordCache) -> None:
    assert verified.has("fish", RECORD, "swim", 101.0)


@pytest.mark.parametrize(
    ("user", "record", "password"),
    [
        ("fish", RECORD, "swi"),
        ("fish", RECORD, ""),
        ("bird", RECORD, "swim"),
        ("fish", RECORD._replace(salt=b"other"), "swim"),
        ("fish", RECORD._replace(digest=b"other"), "swim"),
        ("fish", RECORD._replace(cost=2), "swim"),
        ("fishs", RECORD, "wim"),
    ],
)
def test_nothing_else_is(verified: PasswordCache, user: str, record: PasswordRecord, password: str) -> None:
    assert not verified.has(user, record, password, 101.0)


def test_it_is_forgotten_when_it_is_not_used_and_kept_while_it_is(verified: PasswordCache) -> None:
    assert verified.has("fish", RECORD, "swim", 99.0 + LONGEST)
    assert verified.has("fish", RECORD, "swim", 98.0 + 2 * LONGEST)
    assert not verified.has("fish", RECORD, "swim", 98.0 + 3 * LONGEST)


def test_those_that_were_used_last_are_kept(verified: PasswordCache) -> None:
    for number in range(MOST):
        if number == MOST // 2:
            assert verified.has("fish", RECORD, "swim", 101.0)
        verified.add(str(number), RECORD, "swim", 101.0)
    assert verified.has("fish", RECORD, "swim", 102.0) and not verified.has("0", RECORD, "swim", 102.0)
    assert len(verified._until) == MOST


def test_no_password_is_in_memory(verified: PasswordCache) -> None:
    assert "swim" not in repr(vars(verified))
