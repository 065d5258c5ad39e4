"""The replies that browsers get for a word."""

from __future__ import annotations

import msgspec
import pytest

import macaque
from frontend import reply


def test_an_answer_becomes_what_the_page_shows() -> None:
    made = reply.answered("fish", {"word": "FISH", "backend": "Ruby: r1"}, 12.3456)
    shown = {"word": "FISH", "original": "fish", "roundTripMs": 12.35, "backend": "Ruby: r1"}
    assert msgspec.to_builtins(made) == shown


@pytest.mark.parametrize("said", [3.125, 0, None])
def test_the_working_time_is_shown_if_the_worker_says_one(said: float | None) -> None:
    made = reply.answered("fish", {"word": "FISH", "backend": "Python: w", "workMs": said}, 12.3456)
    assert (made.work_ms, made.error) == (said, None)


@pytest.mark.parametrize("said", [-1, float("nan"), "5", True])
def test_a_working_time_that_cannot_be_is_an_error_that_names_it(said: object) -> None:
    made = reply.answered("fish", {"word": "FISH", "backend": "Python: w", "workMs": said}, 1.0)
    assert made.word == "fish" and "workMs" in str(made.error)


def test_a_worker_cannot_pretend_to_be_the_front_end() -> None:
    said = {"word": "FISH", "original": "x", "error": "x", "id": 7, "again": True, "roundTripMs": 0}
    made = reply.answered("fish", said, 1.0)
    assert (made.original, made.error, made.id, made.again, made.round_trip_ms) == ("fish", None, 0, False, 1.0)


def test_an_error_keeps_the_word_as_it_was_sent() -> None:
    made = msgspec.to_builtins(reply.failed("fish", OSError("no route"), 1.0))
    said = "The word could not be sent: no route"
    assert made == {"word": "fish", "original": "fish", "roundTripMs": 1.0, "error": said, "code": "OSError"}


@pytest.mark.parametrize("answer", [None, "FISH", ["FISH"], {}, {"word": 7}, {"word": "W", "backend": 5}])
def test_an_answer_of_another_shape_is_an_error_that_quotes_it(answer: object) -> None:
    made = reply.answered("fish", answer, 1.0)
    assert made.word == "fish"
    assert made.error is not None and repr(answer) in made.error and made.code == "WrongAnswer"


@pytest.mark.parametrize("backend", [{}, {"backend": None}, {"backend": ""}])
def test_a_worker_that_gives_no_name_still_counts(backend: dict[str, object]) -> None:
    made = reply.answered("fish", {"word": "FISH", **backend}, 1.0)
    assert (made.word, made.backend, made.error) == ("FISH", "a worker without a name", None)


def test_a_reason_for_people_says_what_to_do() -> None:
    made = reply.failed("fish", macaque.NoResponders("x"), 1.0)
    assert "python -m backend" in str(made.error) and made.code == "NoResponders"
    late = reply.failed("fish", macaque.Timeout("late", topic="x", timeout=5), 1.0, 5)
    assert "within 5 seconds" in str(late.error) and late.code == "Timeout"
