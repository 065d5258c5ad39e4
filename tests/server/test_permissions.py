"""Whether permissions cover what is asked for, against what the patterns match."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqlight.amqp.topics import matches
from mqlight.server.permissions import EVERYTHING, Permissions, User, covers

# Two levels that patterns name, one that none does: what holds for these topics holds for longer ones with other names.
TOPICS = ["/".join(levels) for size in range(1, 6) for levels in itertools.product("abz", repeat=size)]
patterns = st.lists(st.sampled_from(["a", "b", "+", "#"]), min_size=1, max_size=4).map("/".join)


@given(st.lists(patterns, max_size=3), patterns)
@settings(max_examples=600, deadline=None)
def test_a_pattern_is_covered_exactly_when_every_topic_that_it_matches_is_allowed(
    allowed: list[str], asked: str
) -> None:
    found = [topic for topic in TOPICS if matches(asked, topic)]
    everything = all(any(matches(pattern, topic) for pattern in allowed) for topic in found)
    assert covers(allowed, asked) == everything


@pytest.mark.parametrize(
    ("allowed", "asked", "covered"),
    [
        (["a/#"], "a/#", True),
        (["a/#"], "a", True),
        (["a/#"], "a/b/+/#", True),
        (["a/#"], "#", False),
        (["a/#"], "+", False),
        (["a/+"], "a/#", False),
        (["a", "a/+/#"], "a/#", True),
        (["+/#"], "#", True),
        (["#/+"], "+/#", True),
        (["+/#"], "#/a", True),
        (["a/#/z"], "a/z", True),
        (["a/#/z"], "a/+/z", True),
        (["a/#/z"], "a/#", False),
        (["a+"], "a+", True),
        (["a+"], "ab", False),
        ([], "a", False),
        (["/"], "/", True),
        (["+"], "/", False),
    ],
)
def test_what_covers_what(allowed: list[str], asked: str, covered: bool) -> None:
    assert covers(allowed, asked) is covered


def test_the_question_is_answered_soon_whatever_is_asked() -> None:
    began = time.process_time()
    for asked in ("#/a/" * 16 + "#", "+/" * 127 + "#", "a/#/" * 16 + "b", "/".join(map(str, range(128)))):
        covers(["#/a/" + "+/" * 30 + "b", "#/b/#/a/#/b/#", "a/#"], asked)
    assert time.process_time() - began < 2


def test_a_topic_is_allowed_by_any_of_the_patterns() -> None:
    permissions = Permissions(send=("a/#", "b"))
    topics = ("a", "a/x/y", "b", "b/c", "c", "#")
    assert [topic for topic in topics if permissions.may_send(topic)] == ["a", "a/x/y", "b"]
    assert EVERYTHING.may_send("#") and EVERYTHING.may_subscribe("#")
    assert not Permissions().may_send("a") and not Permissions().may_subscribe("a")


@pytest.mark.parametrize(
    ("client_id", "mine"),
    [("x", "r/x"), ("x/y", "r/x/y"), ("#", None), ("+", None), ("a/#", None), ("", None), ("{client}", "r/{client}")],
)
def test_a_client_opens_one_topic_with_its_id_whatever_it_calls_itself(client_id: str, mine: str | None) -> None:
    permissions = Permissions(("a",), ("r/{client}", "b")).of_client(client_id)
    assert permissions.may_send("a") and permissions.may_subscribe("b")
    assert permissions.subscribe == (("b",) if mine is None else (mine, "b"))
    for other in ("r/other", "r/+", "#"):
        assert not permissions.may_subscribe(other)


def test_a_refusal_says_who_what_and_how_to_allow_it() -> None:
    condition = User("fish", Permissions()).refusal("send", "a")
    assert condition.name == "amqp:not-allowed" and " 2035 " in condition.description
    assert "the user 'fish' may not send to 'a'" in condition.description
    assert '"fish send PATTERN"' in condition.description
    assert '"anonymous subscribe PATTERN"' in User(None, Permissions()).refusal("subscribe", "a").description
