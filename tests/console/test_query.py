"""The filter language."""

from __future__ import annotations

import pytest

from console.watched import Watched
from mqlight.server.console.query import QueryError, parse


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", True), ("topic:orders/#", True), ("topic:shop/#", False), ("-topic:orders/#", False), ("from:we*", True),
        ("to:worker", True), ("to:s", True), ("to:other", False), ("state:held", True), ("!state:held", False),
        ("apples", True), ("APPLES pears", False), ("apples | pears", True), ('body:"two words"', False),
        ("role:request", False), ("age:>5s", True), ("age:<5s", False), ("size:>10", True), ("size:>10k", False),
        ("topic:orders/*", True), ("new", True),
    ],
)  # fmt: skip
def test_the_filter_language(query: str, found: bool) -> None:
    world = Watched()
    world.client("worker").listen("share:s:orders/#")
    story = world.send("orders/new", "apples")
    assert parse(query)(story, world.now + 10, True) is found


@pytest.mark.parametrize("query", ["state:lost", "topic:", '"open', "|", "a |", "age:soon", "x" * 501])
def test_a_filter_that_cannot_be_understood_says_why(query: str) -> None:
    with pytest.raises(QueryError) as error:
        parse(query)
    assert len(str(error.value)) > 10


def test_a_filter_does_not_see_bodies_that_are_hidden() -> None:
    world = Watched()
    story = world.send("orders/new", "apples")
    assert not parse("apples")(story, world.now, False)
    assert not parse("body:apples")(story, world.now, False)
