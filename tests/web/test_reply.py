"""What browsers get for a word."""

from __future__ import annotations

import msgspec
import pytest

import macaque
from frontend import reply


def test_an_answer_becomes_what_the_page_shows() -> None:
    made = reply.answered("fish", {"word": "FISH", "backend": "Ruby: r1"}, 12.3456)
    shown = {"word": "FISH", "original": "fish", "roundTripMs": 12.35, "backend": "Ruby: r1"}
    assert msgspec.to_builtins(made) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (3.14159, 3.14), (0, 0.0), (99, 12.35),
        (-1, None), (float("nan"), None), (float("inf"), None), ("5", None), (True, None), (None, None),
    ],
)  # fmt: skip
def test_the_working_time_is_shown_if_the_worker_says_one_that_can_be(said: object, shown: float | None) -> None:
    answer = {"word": "FISH", "backend": "Python: w", "workMs": said}
    assert reply.answered("fish", answer, 12.3456).work_ms == shown


def test_an_error_keeps_the_word_as_it_was_sent() -> None:
    made = msgspec.to_builtins(reply.failed("fish", "Nobody listens.", 1.0))
    assert made == {"word": "fish", "original": "fish", "roundTripMs": 1.0, "error": "Nobody listens."}


@pytest.mark.parametrize("answer", [None, "FISH", ["FISH"], {}, {"word": 7}, {"backend": "Python: w"}])
def test_an_answer_of_another_shape_is_an_error_that_quotes_it(answer: object) -> None:
    made = reply.answered("fish", answer, 1.0)
    assert made.word == "fish"
    assert made.error is not None and repr(answer) in made.error


@pytest.mark.parametrize("backend", [None, "", 5])
def test_a_worker_that_gives_no_name_still_counts(backend: object) -> None:
    made = reply.answered("fish", {"word": "FISH", "backend": backend}, 1.0)
    assert (made.word, made.backend, made.error) == ("FISH", "a worker without a name", None)


def test_a_reason_for_people_says_what_to_do() -> None:
    assert "python -m backend" in reply.explain(macaque.NoResponders("x"), 5)
    assert reply.explain(OSError("no route"), 5) == "The word could not be sent: no route"
