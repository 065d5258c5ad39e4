"""Topics as routing keys: there and back, and matching as MQ Light matches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqlight.amqp.topics import matches
from mqlight.dialects.keys import key_of_pattern, key_of_topic, quote, topic_of_key, unquote

TOPICS = st.one_of(st.text(min_size=1), st.text("/.*#+% ü鱼a%", min_size=1))
KEYS = {
    "a": "a",
    "a/b c/鱼": "a.b c.鱼",
    "a.b": "a%2Eb",
    "/a": "%.a",
    "a/": "a.%",
    "//": "%.%.%",
    "100%": "100%25",
    "%": "%25",
    "+/#/*": "+.%23.%2A",
    "a::b?c|d": "a%3A%3Ab%3Fc%7Cd",
}


@pytest.mark.parametrize(("topic", "key"), KEYS.items())
def test_a_topic_has_this_key(topic: str, key: str) -> None:
    assert key_of_topic(topic) == key
    assert topic_of_key(key) == topic


@pytest.mark.parametrize(
    ("pattern", "key"),
    [("+/#", "*.#"), ("a/+/b", "a.*.b"), ("USA#/a+", "USA%23.a+"), ("*/+", "%2A.*"), ("#", "#"), ("//+", "%.%.*")],
)
def test_a_pattern_is_bound_with_this_key(pattern: str, key: str) -> None:
    assert key_of_pattern(pattern) == key


@given(TOPICS)
def test_every_topic_comes_back_from_its_key(topic: str) -> None:
    assert topic_of_key(key_of_topic(topic)) == topic


@given(TOPICS)
def test_a_key_has_as_many_words_as_its_topic_has_levels_and_no_wildcard(topic: str) -> None:
    words = key_of_topic(topic).split(".")
    assert len(words) == topic.count("/") + 1
    assert not {"", "*", "#"} & set(words)


@given(st.lists(st.sampled_from(["+", "#", "a", "", "*", "b.c"]), min_size=1, max_size=5).map("/".join), TOPICS)
def test_keys_match_where_topics_match(pattern: str, topic: str) -> None:
    """Words against words, by the rules of topic exchanges, must be levels against levels by MQ Light's."""
    spelt = key_of_pattern(pattern).replace("#", "\0").replace("*", "+").replace("\0", "#").replace(".", "/")
    assert matches(spelt, key_of_topic(topic).replace(".", "/")) == matches(pattern, topic)


@given(st.text())
def test_every_text_comes_back_from_its_path_segment(text: str) -> None:
    assert unquote(quote(text)) == text
    assert not set(quote(text)) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%")


def test_what_is_not_utf_8_stays_encoded() -> None:
    assert unquote("a%FFb%zz%41") == "a%FFb%zzA"
