"""Topic patterns against the rules of MQ Light, and against a matcher too simple to be wrong."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqlight.amqp import topics
from mqlight.amqp.topics import PatternMap, TopicError, is_wild, matches, validate_pattern, validate_topic

MATCHING = [
    ("a", "a"),
    ("a/b", "a/b"),
    ("#", "a"),
    ("#", "a/b/c"),
    ("#", "/"),
    ("#", "/a"),
    ("USA/#", "USA"),
    ("USA/#", "USA/Alaska"),
    ("USA/#", "USA/Alaska/Juneau"),
    ("USA/#", "USA/"),
    ("#/Results", "Results"),
    ("#/Results", "Sport/Tennis/Results"),
    ("a/#/z", "a/z"),
    ("a/#/z", "a/b/z"),
    ("a/#/z", "a/z/z/z"),
    ("a/#/#/z", "a/z"),
    ("#/#", "a"),
    ("#/a/#", "a"),
    ("#/+/#", "a"),
    ("+/#", "a"),
    ("#/+", "a/b/c"),
    ("+", "a"),
    ("+", "#"),
    ("+/b", "a/b"),
    ("+/b", "/b"),
    ("a/+/c", "a//c"),
    ("/+", "/a"),
    ("/#", "/a/b"),
    ("+/+", "/"),
    ("USA#", "USA#"),
    ("a+", "a+"),
    ("a/b+/c", "a/b+/c"),
    ("a/+", "a/+"),
    ("a/#", "a/#"),
    ("ü/+", "ü/😀"),
    ("a b/%20/?", "a b/%20/?"),
    ("private:x", "private:x"),
]

DIFFERING = [
    ("a", "b"),
    ("a", "A"),
    ("a", "a/"),
    ("a/", "a"),
    ("/a", "a"),
    ("a", "/a"),
    ("a", "#"),
    ("a", "+"),
    ("USA/#", "USAx"),
    ("USA#", "USA/x"),
    ("USA#", "USA"),
    ("USA#", "USAx"),
    ("+", "a/b"),
    ("+", "/a"),
    ("+/b", "a/c"),
    ("+/b", "b"),
    ("a/+", "a"),
    ("a/+", "a/b/c"),
    ("a+", "ab"),
    ("/#", "a"),
    ("#/Results", "Results/Tennis"),
    ("a/#/z", "a"),
    ("a/#/z", "z"),
    ("a/#/z", "a/z/b"),
    ("+/#/+", "a"),
    ("#/a/#", "b/c"),
]


@pytest.mark.parametrize(("pattern", "topic"), MATCHING)
def test_a_pattern_gets_the_topics_it_names(pattern: str, topic: str) -> None:
    assert matches(pattern, topic)
    assert _found(pattern, topic)


@pytest.mark.parametrize(("pattern", "topic"), DIFFERING)
def test_a_pattern_gets_no_other_topic(pattern: str, topic: str) -> None:
    assert not matches(pattern, topic)
    assert not _found(pattern, topic)


@pytest.mark.parametrize("pattern", ["#", "+", "a/#", "#/a", "a/+/b", "/+", "+/"])
def test_a_pattern_with_a_whole_level_of_wildcard_is_wild(pattern: str) -> None:
    assert is_wild(pattern)


@pytest.mark.parametrize("pattern", ["a", "a/b", "/", "", "USA#", "a+/b", "a/#b", "++", "##"])
def test_a_pattern_without_a_whole_level_of_wildcard_is_not_wild(pattern: str) -> None:
    assert not is_wild(pattern)


@pytest.mark.parametrize("text", ["a", "/", "//", "#", "+/+", "a b", "%", "ü", "😀", "amqp://x/y", "x" * 10_237])
def test_any_text_is_a_topic_and_a_pattern(text: str) -> None:
    validate_topic(text)
    validate_pattern(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\ud800", "surrogate"),
        ("x" * 10_238, "10238 bytes"),
        ("ü" * 5_119, "10238 bytes"),
        (5, "not 5"),
    ],
)
def test_no_topic_and_no_pattern_is_empty_or_too_long_or_no_text(text: str, reason: str) -> None:
    for validate in (validate_topic, validate_pattern):
        with pytest.raises(TopicError, match=reason):
            validate(text)


def test_a_pattern_may_hold_only_so_many_multi_level_wildcards() -> None:
    validate_pattern("/".join(["#"] * topics.MAX_MULTI_LEVEL) + "/x#")
    with pytest.raises(TopicError, match="more than 16 levels"):
        validate_pattern("/".join(["#"] * (topics.MAX_MULTI_LEVEL + 1)))
    validate_topic("/".join(["#"] * 100))


def test_many_wildcards_do_not_blow_up() -> None:
    pattern = "/".join(["#", "a"] * topics.MAX_MULTI_LEVEL) + "/b"
    topic = "/".join("a" * 1_000)
    patterns: PatternMap[int] = PatternMap()
    patterns.add(pattern, 1)
    begun = process_time()
    assert not matches("/".join(["#", "a"] * 400) + "/b", topic)
    assert patterns.find(topic) == ()
    assert process_time() - begun < 1


levels = st.sampled_from(["", "a", "b", "+", "#", "a#"])
texts = st.lists(levels, min_size=1, max_size=6).map("/".join)


@settings(max_examples=200, deadline=None)
@given(texts, texts)
def test_the_matcher_agrees_with_a_naive_one(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) == _naive(pattern.split("/"), topic.split("/"))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "find"]), texts, st.integers(0, 2)), max_size=30),
    st.lists(texts, min_size=1, max_size=4),
)
def test_the_map_agrees_with_a_list_of_pairs(steps: list[tuple[str, str, int]], sought: list[str]) -> None:
    patterns: PatternMap[int] = PatternMap()
    pairs: list[tuple[str, int]] = []
    for verb, pattern, value in steps:
        if verb == "add":
            patterns.add(pattern, value)
            if (pattern, value) not in pairs:
                pairs.append((pattern, value))
        elif verb == "remove" and (pattern, value) in pairs:
            patterns.remove(pattern, value)
            pairs.remove((pattern, value))
        elif verb == "remove":
            with pytest.raises(KeyError):
                patterns.remove(pattern, value)
        for topic in sought:
            assert sorted(patterns.find(topic)) == sorted(value for each, value in pairs if matches(each, topic))


def test_a_removed_pattern_leaves_nothing_behind() -> None:
    patterns: PatternMap[int] = PatternMap()
    for pattern in ("a/#/b/+", "a/+", "a/b", "#"):
        patterns.add(pattern, 1)
    for pattern in ("a/#/b/+", "a/+", "a/b", "#"):
        patterns.remove(pattern, 1)
    assert patterns._root.empty()
    assert not patterns._exact
    assert patterns.find("a/b") == ()


def test_what_was_found_is_forgotten_when_the_patterns_change() -> None:
    patterns: PatternMap[str] = PatternMap()
    assert patterns.find("a/b") == ()
    patterns.add("a/b", "exact")
    assert patterns.find("a/b") == ("exact",)
    patterns.add("a/#", "wild")
    assert set(patterns.find("a/b")) == {"exact", "wild"}
    patterns.remove("a/b", "exact")
    assert patterns.find("a/b") == ("wild",)
    patterns.remove("a/#", "wild")
    assert patterns.find("a/b") == ()


def test_the_memory_of_what_was_found_is_bounded() -> None:
    patterns: PatternMap[int] = PatternMap()
    patterns.add("#", 1)
    for number in range(topics.CACHED_TOPICS + 10):
        assert patterns.find(f"t/{number}") == (1,)
    assert patterns.find("x" * 5_000) == (1,)
    assert len(patterns._cache) <= topics.CACHED_TOPICS
    assert "x" * 5_000 not in patterns._cache


def _found(pattern: str, topic: str) -> bool:
    patterns: PatternMap[str] = PatternMap()
    patterns.add(pattern, "it")
    return patterns.find(topic) == ("it",)


def _naive(pattern: list[str], topic: list[str]) -> bool:
    if not pattern:
        return not topic
    if pattern[0] == "#":
        return any(_naive(pattern[1:], topic[skipped:]) for skipped in range(len(topic) + 1))
    return bool(topic) and pattern[0] in ("+", topic[0]) and _naive(pattern[1:], topic[1:])


@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize("check", [validate_topic, validate_pattern])
def test_a_control_character_is_refused_by_name(check, character) -> None:
    with pytest.raises(TopicError, match=rf"has the control character U\+00{ord(character):02X} at 1; take it out"):
        check(f"a{character}b")
