from __future__ import annotations

from typing import Any

import pytest

from described import described, shop
from macaque.observe.info import ServiceInfo
from macaque.specs.topics import address, by_topic, distinct, identifier, one_topic, path, summary


def test_services_come_once_in_the_order_of_their_topics_and_shares() -> None:
    infos = described(shop())
    running = [ServiceInfo(topic=each.topic, share=each.share, calls=5) for each in infos]
    topics = [each.topic for each in distinct(reversed(infos))]
    assert topics == ["shop/+/echo", "shop/buy", "shop/find", "shop/log/#", "shop/prices"]
    assert len(distinct(infos + infos)) == len(infos) and len(distinct(running)) == len(infos)
    changed = ServiceInfo(topic="shop/buy", share="shop", doc="Another version.")
    assert [len(group) for group in by_topic([*infos, changed]).values()] == [1, 2, 1, 1, 1]


@pytest.mark.parametrize("topic", ["", "a\nb", "half \ud800", "#/" * 20, "x" * 20_000])
def test_a_topic_that_cannot_be_is_left_out(topic: str) -> None:
    assert distinct([ServiceInfo(topic=topic)]) == []


def test_a_schema_that_cannot_be_encoded_is_left_out() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"items": deep}
    assert distinct([ServiceInfo(topic="a", request=deep)]) == []


@pytest.mark.parametrize("topic, name", [
    ("todo/find", "todo_find"), ("a/+/#", "a_any_all"), ("a b/ä", "a_b"), ("//", "topic"), ("x" * 200, "x" * 80),
])  # fmt: skip
def test_a_topic_is_a_name_of_letters(topic: str, name: str) -> None:
    assert identifier(topic) == name


def test_the_summary_is_the_first_line() -> None:
    assert summary(ServiceInfo(topic="a", doc="\n Do it.\n\nMore.")) == "Do it."
    assert summary(ServiceInfo(topic="a", doc=" \n")) is summary(ServiceInfo(topic="a")) is None


@pytest.mark.parametrize("topic, place, parameters", [
    ("a/b", "a/b", []), ("+/a/#", "{level1}/a/{levels3}", ["level1", "levels3"]), ("a/{b}", "a/{text2}", ["text2"]),
])  # fmt: skip
def test_wildcards_and_braces_are_parameters_of_an_address(topic: str, place: str, parameters: list[str]) -> None:
    assert address(topic)[0] == place and list(address(topic)[1]) == parameters
    assert address("a/{b}")[1]["text2"]["enum"] == ["{b}"]


@pytest.mark.parametrize("topic, template", [
    ("a/b", ("/a/b", [])), ("/a", ("/a", [])), ("a/+", ("/a/{level2}", ["level2"])), ("a%2F/?", ("/a%252F/%3F", [])),
    ("{level1}", ("/%7Blevel1%7D", [])), ("a/#", None), ("a/..", None), ("./a", None), ("a+/b#", ("/a%2B/b%23", [])),
])  # fmt: skip
def test_a_topic_is_a_path_unless_a_url_cannot_have_it(topic: str, template: object) -> None:
    assert path(topic) == template


def test_a_topic_of_a_pattern_has_words_for_its_wildcards() -> None:
    assert [one_topic(each) for each in ("a/b", "a/+/#", "a+")] == ["a/b", "a/LEVEL/LEVELS", "a+"]
