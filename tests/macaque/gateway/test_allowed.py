from __future__ import annotations

import pytest

from macaque.gateway.allowed import Allowed, check_pattern, is_private


def test_nothing_is_allowed_that_no_pattern_names() -> None:
    allowed = Allowed(["todo/#", "ping"], ["news/+"])
    assert [topic for topic in ("todo", "todo/a/b", "ping", "ping/x", "news/a", "x") if allowed.may_call(topic)] == [
        "todo",
        "todo/a/b",
        "ping",
    ]
    assert not Allowed([], []).may_call("todo")


@pytest.mark.parametrize("topic", ["macaque/services", "macaque/dead/todo", "macaque", "response/macaque_1"])
def test_private_topics_stay_private_whatever_the_patterns_say(topic: str) -> None:
    everything = Allowed(["#", "+/#", "+/+"], ["#", "+/#"])
    assert is_private(topic)
    assert not everything.may_call(topic) and not everything.may_subscribe(topic)
    assert not everything.part(("#",)).may_call(topic)


def test_a_pattern_is_allowed_if_all_its_topics_are() -> None:
    allowed = Allowed(["calls"], ["news/#", "stock/+"])
    subscribed = ("news", "news/#", "news/+/a", "stock/+", "stock/fish", "stock/#", "#", "+", "calls")
    assert [each for each in subscribed if allowed.may_subscribe(each)] == [
        "news",
        "news/#",
        "news/+/a",
        "stock/+",
        "stock/fish",
    ]


def test_a_part_has_the_topics_that_both_allow() -> None:
    part = Allowed(["todo/#", "ping"], ["news/#"]).part(("todo/list", "news/sport/#", "other"))
    assert [topic for topic in ("todo/list", "todo/add", "ping", "other") if part.may_call(topic)] == ["todo/list"]
    assert part.may_subscribe("news/sport/+") and not part.may_subscribe("news/#")
    whole = Allowed(["a"], [])
    assert whole.part(()) is whole and whole.part(("a",)) is whole.part(("a",))


def test_a_service_with_a_pattern_is_told_of_if_all_its_topics_are_allowed() -> None:
    allowed = Allowed(["todo/#"], [])
    assert [each for each in ("todo/+", "todo/list", "+/list", "#", "macaque/#") if allowed.may_call_all(each)] == [
        "todo/+",
        "todo/list",
    ]
    assert not allowed.part(("todo/list",)).may_call_all("todo/+")
    assert Allowed(["#"], []).may_call_all("#") and not Allowed(["#"], []).may_call_all("macaque/services")


@pytest.mark.parametrize("pattern, said", [("macaque/#", "private"), ("response/x", "private"), ("", "empty")])
def test_a_pattern_that_cannot_be_allowed_is_named(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_pattern(pattern)
