"""Dead letters: what a page shows of them, and what is sent again."""

from __future__ import annotations

import json

import pytest

from console.watched import Watched
from mqlight.amqp.message import Message, decode, encode
from mqlight.server.console import dead

REQUEST = '{"uuid":"u1","data":{"n":12345678901234567890},"replyTo":"response/c","expires":1}'


def everybody(topic: str) -> bool:
    return True


def letter(body: object = encode(Message(body=REQUEST, to="shop", ttl=5))) -> tuple[Watched, dead.Letter]:
    world = Watched()
    world.client("keeper").listen("share:macaque-dead:macaque/dead/#", credit=0)
    headers = {"topic": "shop", "reason": "ValueError: no fish", "count": "5", "time": "17", "source": "web"}
    world.send("macaque/dead/shop", body, properties=headers)
    return world, next(dead.letters(world.broker))


def test_a_row_says_what_failed_and_how_often() -> None:
    world, _ = letter()
    [row] = dead.rows(world.broker, everybody)
    assert (row["topic"], row["reason"], row["attempts"], row["at"], row["from"]) == (
        "shop", "ValueError: no fish", 5, 17, "web"
    )  # fmt: skip
    assert row["replayable"] and json.loads(row["body"])["data"]
    assert dead.count(world.broker) == 1
    assert dead.rows(world.broker, lambda topic: False)[0]["body"] is None


def test_a_revived_request_waits_for_no_reply_and_keeps_its_numbers() -> None:
    _, found = letter()
    again = decode(dead.revive(found, None))
    assert again.body == '{"uuid":"u1","data":{"n":12345678901234567890}}'
    assert (again.to, again.ttl, again.reply_to) == ("shop", None, None)
    assert decode(dead.revive(found, "another body")).body == "another body"


@pytest.mark.parametrize("body", ["no letter at all", b"no message"])
def test_a_letter_without_a_request_cannot_be_sent_again(body: object) -> None:
    _, found = letter(body)
    with pytest.raises(ValueError, match="in this letter"):
        dead.revive(found, None)


def test_letters_are_found_by_their_sequences() -> None:
    world, found = letter()
    assert dead.find(world.broker, {found.queued.sequence, 99}).keys() == {found.queued.sequence}


def test_a_body_that_looks_like_json_is_sent_as_json() -> None:
    assert decode(dead.message("t", '{"a": 1}', 9)).content_type == "application/json"
    assert decode(dead.message("t", "hello", None)).content_type == "text/plain"
