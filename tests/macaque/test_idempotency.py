from __future__ import annotations

import threading

import pytest

from macaque.idempotency import Idempotency, Turn


@pytest.fixture
def answers() -> Idempotency[str, str]:
    return Idempotency(threading.Lock(), 60.0, max_results=3, max_bytes=100)


def test_the_first_request_is_run_and_later_ones_get_its_answer(answers: Idempotency[str, str]) -> None:
    assert answers.begin("a", "first", 0.0) is Turn.RUN
    assert answers.end("a", "answer", 6, 1.0) == []
    assert answers.begin("a", "second", 60.9) == "answer"


def test_a_request_that_comes_while_the_first_is_run_waits_for_it(answers: Idempotency[str, str]) -> None:
    answers.begin("a", "first", 0.0)
    assert answers.begin("a", "second", 0.1) is Turn.WAIT
    assert answers.begin("a", "third", 0.2) is Turn.WAIT
    assert answers.begin("b", "other", 0.2) is Turn.RUN
    assert answers.end("a", "answer", 6, 1.0) == ["second", "third"]


def test_an_answer_is_forgotten_after_its_window(answers: Idempotency[str, str]) -> None:
    answers.begin("a", "first", 0.0)
    answers.end("a", "answer", 6, 1.0)
    assert answers.begin("a", "second", 61.0) is Turn.RUN
    assert (len(answers), answers.bytes) == (0, 0)


def test_what_has_no_answer_is_run_again(answers: Idempotency[str, str]) -> None:
    answers.begin("a", "first", 0.0)
    answers.begin("a", "second", 0.0)
    assert answers.end("a", None, 0, 1.0) == ["second"]
    assert answers.begin("a", "third", 1.0) is Turn.RUN


def run(answers: Idempotency[str, str], key: str, size: int, now: float) -> None:
    assert answers.begin(key, key, now) is Turn.RUN
    answers.end(key, key, size, now)


def test_the_oldest_answers_go_when_there_are_too_many(answers: Idempotency[str, str]) -> None:
    for key in "abcd":
        run(answers, key, 1, 0.0)
    assert len(answers) == 3
    assert answers.begin("b", "again", 0.0) == "b"
    assert answers.begin("a", "again", 0.0) is Turn.RUN


def test_the_oldest_answers_go_when_they_are_too_large(answers: Idempotency[str, str]) -> None:
    run(answers, "a", 60, 0.0)
    run(answers, "b", 60, 0.0)
    assert (len(answers), answers.bytes) == (1, 60)
    assert answers.begin("b", "again", 0.0) == "b"


def test_an_answer_that_is_too_large_by_itself_drives_no_other_out(answers: Idempotency[str, str]) -> None:
    run(answers, "a", 60, 0.0)
    run(answers, "b", 101, 0.0)
    assert answers.begin("a", "again", 0.0) == "a"
    assert answers.begin("b", "again", 0.0) is Turn.RUN


def test_a_request_that_waits_no_more_is_not_told(answers: Idempotency[str, str]) -> None:
    answers.begin("a", "first", 0.0)
    for waiter in "second", "third":
        answers.begin("a", waiter, 0.0)
    answers.leave("a", "second")
    answers.leave("a", "never")
    answers.leave("b", "second")
    assert answers.end("a", "answer", 6, 1.0) == ["third"]
