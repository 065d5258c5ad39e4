"""The remembered messages: rows, details and topics."""

from __future__ import annotations

import json

import pytest

from console.watched import Watched


def everybody(topic: str) -> bool:
    return True


def nobody(topic: str) -> bool:
    return False


def test_a_row_says_what_became_of_the_message() -> None:
    world = Watched()
    worker = world.client("worker")
    worker.listen("share:s:t")
    story = world.send("t", "apples")
    messages = world.views.messages
    row = json.loads(messages.row(story, world.now, everybody))
    assert (row["id"], row["state"], row["done"], row["of"], row["preview"]) == ("run-1", "held", 0, 1, "apples")
    assert row["why"]["code"] == "held"
    worker.settle()
    row = json.loads(messages.row(story, world.now, everybody))
    assert (row["state"], row["done"], row["why"]) == ("accepted", 1, None)
    assert messages.row(story, world.now + 9, everybody) is messages.row(story, world.now, everybody), "made once"


def test_a_reader_who_may_not_see_a_body_sees_the_rest() -> None:
    world = Watched()
    story = world.send("t", "secret", properties={"key": "secret"})
    messages = world.views.messages
    assert b"secret" not in messages.row(story, world.now, nobody)
    detail = messages.detail(story, world.now, nobody)
    assert "secret" not in json.dumps(detail) and detail["kind"] == "hidden"
    assert messages.detail(story, world.now, everybody)["body"] == "secret"
    assert messages.topics(nobody)[0]["preview"] == ""


def test_a_list_goes_on_where_it_ended() -> None:
    world = Watched()
    for i in range(5):
        world.send(f"t/{i}")
    messages = world.views.messages
    first, more = messages.find(None, world.now, everybody, most=2)
    rest, _ = messages.find(None, world.now, everybody, before=more, most=10)
    assert [story.number for story in [*first, *rest]] == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("nonsense", "is no message"), ("old-1", "earlier run"), ("run-1", "fallen out"), ("run-99", "no message 99 yet")],
)
def test_a_name_without_a_message_says_why(name: str, sentence: str) -> None:
    world = Watched()
    world.send("t")
    world.history.clear()
    found = world.views.messages.lookup(name)
    assert isinstance(found, str) and sentence in found


def test_the_answer_is_a_sentence() -> None:
    world = Watched()
    worker = world.client("worker")
    worker.listen("share:s:t")
    story = world.send("t")
    world.wait(2.0)
    worker.settle()
    detail = world.views.messages.detail(story, world.now, everybody)
    assert detail["answer"] == "web sent it to t 2 s ago. worker received and settled it within 2 s."
    nobody_there = world.views.messages.detail(world.send("u"), world.now, everybody)
    assert nobody_there["answer"] == "web sent it to u 0 s ago. Nobody is subscribed to this topic."


def test_topics_are_counted() -> None:
    world = Watched()
    for topic in ("b", "a", "b"):
        world.send(topic, topic.upper())
    found = world.views.messages.topics(everybody)
    assert [(each["topic"], each["count"], each["preview"]) for each in found] == [("a", 1, "A"), ("b", 2, "B")]
