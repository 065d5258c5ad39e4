"""Whether patterns cover a pattern, against the topics that they match."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqlight.amqp.covering import covers
from mqlight.amqp.topics import matches

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
