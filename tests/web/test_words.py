"""Words between the sentence and the page, without a process or a clock."""

from __future__ import annotations

import msgspec
import pytest

from frontend import words
from frontend.listener import BadAddress, address
from frontend.settings import Settings
from frontend.words import Full, Inboxes, Reply, Ticket


def reply(word: str) -> Reply:
    return words.answered(word, {"word": word.upper(), "backend": "Python: w"}, 1.0)


def again(word: str) -> Reply:
    return msgspec.structs.replace(reply(word), again=True)


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
    inboxes = Inboxes(Settings())
    inboxes.reserve("s", ["a", "b", "c"])
    for word in ("c", "a", "b"):
        inboxes.add("s", reply(word), 0.0)
    assert [inboxes.take("s", 0.0) for _ in range(4)] == [reply("c"), reply("a"), reply("b"), None]


def test_a_session_sees_its_own_words_only() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("mine", ["a"])
    inboxes.reserve("yours", ["b"])
    inboxes.add("yours", reply("b"), 0.0)
    assert inboxes.take("mine", 0.0) is None
    assert inboxes.take("yours", 0.0) == reply("b")


def test_a_word_is_waiting_until_it_is_fetched() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("s", ["a", "b"])
    assert inboxes.waiting("s") == 2
    inboxes.add("s", reply("a"), 0.0)
    assert inboxes.waiting("s") == 2
    inboxes.take("s", 0.0)
    assert inboxes.waiting("s") == 1
    assert inboxes.waiting("other") == 0


def test_a_session_that_has_all_its_words_leaves_nothing_behind() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("s", [])
    assert len(inboxes) == 0
    inboxes.reserve("s", ["a"])
    inboxes.add("s", reply("a"), 0.0)
    inboxes.take("s", 0.0)
    assert len(inboxes) == 0


def test_replies_that_nobody_fetches_are_dropped_after_their_time() -> None:
    inboxes = Inboxes(Settings(max_age=600))
    inboxes.reserve("s", ["old", "new", "out"])
    inboxes.add("s", reply("old"), 1000.0)
    inboxes.add("s", reply("new"), 1001.0)
    assert inboxes.expire(1599.9) == 0
    assert inboxes.expire(1600.0) == 1
    assert inboxes.take("s", 0.0) == reply("new")
    assert inboxes.waiting("s") == 1, "a word that is out with a worker never expires here"


def test_words_that_do_not_fit_are_refused_together_before_any_is_sent() -> None:
    inboxes = Inboxes(Settings(max_buffer_per_session=3 * words.room("x")))
    inboxes.reserve("s", ["a", "b"])
    with pytest.raises(Full) as caught:
        inboxes.reserve("s", ["c", "d"])
    assert caught.value.mine
    assert "2 of your words" in str(caught.value) and "FRONTEND_MAX_BUFFER_PER_SESSION" in str(caught.value)
    inboxes.reserve("s", ["c"])
    assert inboxes.waiting("s") == 3


def test_one_session_may_fill_its_room_but_all_share_one_limit() -> None:
    inboxes = Inboxes(Settings(max_buffer_per_session=2 * words.room("x"), max_buffer=3 * words.room("x")))
    inboxes.reserve("mine", ["a", "b"])
    with pytest.raises(Full) as caught:
        inboxes.reserve("yours", ["c", "d"])
    assert not caught.value.mine
    inboxes.reserve("yours", ["c"])


@pytest.mark.parametrize("gone", ["fetched", "expired"])
def test_room_comes_back_when_a_reply_is(gone: str) -> None:
    inboxes = Inboxes(Settings(max_age=10, max_buffer_per_session=words.room("x"), max_buffer=words.room("x")))
    for now in range(0, 1000, 100):
        inboxes.reserve("s", ["a"])
        inboxes.add("s", reply("a"), now)
        assert inboxes.take("s", 0.0) if gone == "fetched" else inboxes.expire(now + 10) == 1


@pytest.mark.parametrize(
    ("settings", "limit"),
    [(Settings(max_in_flight=2), "FRONTEND_MAX_IN_FLIGHT"), (Settings(max_sessions=1), "FRONTEND_MAX_SESSIONS")],
)
def test_a_limit_of_all_sessions_is_named_and_ends_when_words_come_back(settings: Settings, limit: str) -> None:
    inboxes = Inboxes(settings)
    inboxes.reserve("mine", ["a", "b"])
    with pytest.raises(Full, match=limit) as caught:
        inboxes.reserve("yours", ["c"])
    assert not caught.value.mine
    for word in ("a", "b"):
        inboxes.add("mine", reply(word), 0.0)
        inboxes.take("mine", 0.0)
    inboxes.reserve("yours", ["c"])
    assert (inboxes.out, inboxes.held, len(inboxes)) == (1, 0, 1)


def test_a_reply_that_is_looked_at_stays() -> None:
    inboxes = Inboxes(Settings())
    assert inboxes.peek("s") is None
    inboxes.reserve("s", ["a"])
    assert inboxes.peek("s") is None
    inboxes.add("s", reply("a"), 0.0)
    assert inboxes.peek("s") == inboxes.peek("s") == inboxes.take("s", 0.0) == reply("a")


def test_a_reply_that_was_lost_on_its_way_comes_again_for_the_same_ticket() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("s", ["a", "b"])
    inboxes.add("s", reply("a"), 0.0)
    inboxes.add("s", reply("b"), 0.0)
    assert inboxes.take("s", 0.0, Ticket("tab", 1)) == inboxes.take("s", 1.0, Ticket("tab", 1)) == reply("a")
    assert inboxes.was_given("s", Ticket("tab", 1)) and not inboxes.was_given("s", Ticket("tab", 2))
    assert inboxes.take("s", 2.0, Ticket("other", 1)) == reply("b")
    assert inboxes.waiting("s") == 0 and inboxes.held == 2
    assert inboxes.take("s", 3.0, Ticket("tab", 2)) is None
    assert inboxes.held == 1
    assert inboxes.take("s", 4.0, Ticket("other", 2)) is None
    assert len(inboxes) == 0, "both have come with their next ticket"


def test_a_reply_of_a_reader_who_does_not_come_again_is_for_the_next() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("s", ["a"])
    inboxes.add("s", reply("a"), 0.0)
    assert inboxes.take("s", 10.0, Ticket("tab", 1)) == reply("a")
    assert inboxes.give_again(10.0 + words.GIVEN_AGE - 1) == set()
    assert inboxes.give_again(10.0 + words.GIVEN_AGE) == {"s"}
    assert inboxes.take("s", 80.0) == reply("a")
    assert (len(inboxes), inboxes.held) == (0, 0)


def test_a_sentence_over_a_limit_is_told_which() -> None:
    settings = Settings(max_words=3, max_word=5)
    assert words.check(["fish"] * 3, settings) is None
    assert "4 words, more than 3 (FRONTEND_MAX_WORDS)" in str(words.check(["fish"] * 4, settings))
    assert "6 characters, more than 5 (FRONTEND_MAX_WORD)" in str(words.check(["a", "fishes"], settings))


def test_long_words_take_more_room_than_short_ones() -> None:
    inboxes = Inboxes(Settings(max_buffer_per_session=10_000))
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


def test_a_further_answer_takes_room_until_it_is_fetched_but_is_no_word_that_waits() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("s", ["a", "b"])
    inboxes.add("s", reply("a"), 0.0)
    assert inboxes.add_again("s", again("a"), 0.0)
    assert inboxes.waiting("s") == 2
    assert [inboxes.take("s", 0.0), inboxes.waiting("s")] == [reply("a"), 1]
    assert [inboxes.take("s", 0.0), inboxes.waiting("s")] == [again("a"), 1]


def test_a_further_answer_may_come_when_all_words_were_fetched() -> None:
    inboxes = Inboxes(Settings())
    assert inboxes.add_again("s", again("a"), 0.0)
    assert (inboxes.waiting("s"), len(inboxes)) == (0, 1)
    assert inboxes.take("s", 0.0) == again("a")
    assert len(inboxes) == 0


def test_a_further_answer_without_room_is_dropped() -> None:
    inboxes = Inboxes(Settings(max_buffer_per_session=words.room("a")))
    inboxes.reserve("s", ["a"])
    assert not inboxes.add_again("s", again("a"), 0.0)
    assert (inboxes.waiting("s"), len(inboxes)) == (1, 1)
    for settings in (Settings(max_buffer=words.room("a") - 1), Settings(max_sessions=0)):
        assert not Inboxes(settings).add_again("s", again("a"), 0.0)


def test_a_further_answer_that_was_given_for_a_ticket_is_no_word_that_waits() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("s", ["a"])
    inboxes.add("s", reply("a"), 0.0)
    inboxes.add_again("s", again("a"), 0.0)
    assert [inboxes.take("s", 0.0, Ticket("r", 1)), inboxes.waiting("s")] == [reply("a"), 0]
    assert [inboxes.take("s", 1.0, Ticket("r", 2)), inboxes.waiting("s")] == [again("a"), 0]
    assert inboxes.give_again(1.0 + words.GIVEN_AGE) == {"s"}
    assert inboxes.waiting("s") == 0
    assert inboxes.take("s", 100.0) == again("a")
    assert len(inboxes) == 0
