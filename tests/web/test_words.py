"""Words between the sentence and the page, without a process or a clock."""

from __future__ import annotations

import msgspec
import pytest

from frontend import words
from frontend.listener import BadAddress, address
from frontend.words import Full, Inboxes, Reply


def reply(word: str) -> Reply:
    return words.answered(word, {"word": word.upper(), "backend": "Python: w"}, 1.0)


def test_a_sentence_splits_at_white_space_and_keeps_its_punctuation() -> None:
    assert words.split(" One, Two\tThree\n\nfour-five \u00a0six ") == ["One,", "Two", "Three", "four-five", "six"]


def test_a_sentence_of_white_space_has_no_words() -> None:
    assert words.split(" \n\t\u2003") == []


def test_an_answer_becomes_what_the_page_shows() -> None:
    made = words.answered("fish", {"word": "FISH", "backend": "Ruby: r1"}, 12.3456)
    shown = {"word": "FISH", "original": "fish", "roundTripMs": 12.35, "backend": "Ruby: r1"}
    assert msgspec.to_builtins(made) == shown


def test_an_error_keeps_the_word_as_it_was_sent() -> None:
    made = msgspec.to_builtins(words.failed("fish", "Nobody listens.", 1.0))
    assert made == {"word": "fish", "original": "fish", "roundTripMs": 1.0, "error": "Nobody listens."}


@pytest.mark.parametrize("answer", [None, "FISH", ["FISH"], {}, {"word": 7}, {"backend": "Python: w"}])
def test_an_answer_of_another_shape_is_an_error_that_quotes_it(answer: object) -> None:
    made = words.answered("fish", answer, 1.0)
    assert made.word == "fish"
    assert made.error is not None and repr(answer) in made.error


@pytest.mark.parametrize("backend", [None, "", 5])
def test_a_worker_that_gives_no_name_still_counts(backend: object) -> None:
    made = words.answered("fish", {"word": "FISH", "backend": backend}, 1.0)
    assert (made.word, made.backend, made.error) == ("FISH", "a worker without a name", None)


def test_replies_come_out_in_the_order_in_which_they_came_in() -> None:
    inboxes = Inboxes()
    inboxes.reserve("s", ["a", "b", "c"])
    for word in ("c", "a", "b"):
        inboxes.add("s", reply(word), 0.0)
    assert [inboxes.take("s") for _ in range(4)] == [reply("c"), reply("a"), reply("b"), None]


def test_a_session_sees_its_own_words_only() -> None:
    inboxes = Inboxes()
    inboxes.reserve("mine", ["a"])
    inboxes.reserve("yours", ["b"])
    inboxes.add("yours", reply("b"), 0.0)
    assert inboxes.take("mine") is None
    assert inboxes.take("yours") == reply("b")


def test_a_word_is_waiting_until_it_is_fetched() -> None:
    inboxes = Inboxes()
    inboxes.reserve("s", ["a", "b"])
    assert inboxes.waiting("s") == 2
    inboxes.add("s", reply("a"), 0.0)
    assert inboxes.waiting("s") == 2
    inboxes.take("s")
    assert inboxes.waiting("s") == 1
    assert inboxes.waiting("other") == 0


def test_a_session_that_has_all_its_words_leaves_nothing_behind() -> None:
    inboxes = Inboxes()
    inboxes.reserve("s", [])
    assert len(inboxes) == 0
    inboxes.reserve("s", ["a"])
    inboxes.add("s", reply("a"), 0.0)
    inboxes.take("s")
    assert len(inboxes) == 0


def test_replies_that_nobody_fetches_are_dropped_after_their_time() -> None:
    inboxes = Inboxes(max_age=600)
    inboxes.reserve("s", ["old", "new", "out"])
    inboxes.add("s", reply("old"), 1000.0)
    inboxes.add("s", reply("new"), 1001.0)
    assert inboxes.expire(1599.9) == 0
    assert inboxes.expire(1600.0) == 1
    assert inboxes.take("s") == reply("new")
    assert inboxes.waiting("s") == 1, "a word that is out with a worker never expires here"


def test_words_that_do_not_fit_are_refused_together_before_any_is_sent() -> None:
    inboxes = Inboxes(room_for_one=3 * words.room("x"))
    inboxes.reserve("s", ["a", "b"])
    with pytest.raises(Full) as caught:
        inboxes.reserve("s", ["c", "d"])
    assert caught.value.mine and caught.value.waiting == 2
    assert "2 of your words" in str(caught.value)
    inboxes.reserve("s", ["c"])
    assert inboxes.waiting("s") == 3


def test_one_session_may_fill_its_room_but_all_share_one_limit() -> None:
    inboxes = Inboxes(room_for_one=2 * words.room("x"), room_for_all=3 * words.room("x"))
    inboxes.reserve("mine", ["a", "b"])
    with pytest.raises(Full) as caught:
        inboxes.reserve("yours", ["c", "d"])
    assert not caught.value.mine
    inboxes.reserve("yours", ["c"])


@pytest.mark.parametrize("gone", ["fetched", "expired"])
def test_room_comes_back_when_a_reply_is(gone: str) -> None:
    inboxes = Inboxes(max_age=10, room_for_one=words.room("x"), room_for_all=words.room("x"))
    for now in range(0, 1000, 100):
        inboxes.reserve("s", ["a"])
        inboxes.add("s", reply("a"), now)
        assert inboxes.take("s") if gone == "fetched" else inboxes.expire(now + 10) == 1


def test_long_words_take_more_room_than_short_ones() -> None:
    inboxes = Inboxes(room_for_one=10_000)
    with pytest.raises(Full):
        inboxes.reserve("s", ["x" * 10_000])


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("127.0.0.1", 8000)),
        ({"PORT": "0"}, ("127.0.0.1", 0)),
        ({"PORT": "8100", "HOST": "::1"}, ("::1", 8100)),
        ({"VCAP_APPLICATION": "{}", "PORT": "8080"}, ("0.0.0.0", 8080)),
        ({"VCAP_APPLICATION": "{}", "HOST": "127.0.0.1"}, ("127.0.0.1", 8000)),
    ],
)
def test_the_environment_says_where_to_listen(environ: dict[str, str], expected: tuple[str, int]) -> None:
    assert address(environ) == expected


@pytest.mark.parametrize("port", ["http", "-1", "65536", "80.5", "²"])
def test_a_port_that_is_none_is_named_with_its_variable(port: str) -> None:
    with pytest.raises(BadAddress, match=rf"PORT={port} is not a port"):
        address({"PORT": port})
