"""Words between the sentence and the page, without a process or a clock."""

from __future__ import annotations

import msgspec
import pytest

from frontend.inbox import MAX_AGE, Full, Inboxes
from frontend.reply import Reply, answered
from frontend.settings import Settings


def reply(word: str) -> Reply:
    return answered(word, {"word": word.upper(), "backend": "Python: w"}, 1.0)


def again(word: str) -> Reply:
    return msgspec.structs.replace(reply(word), again=True)


def filled(*words: str, settings: Settings | None = None) -> Inboxes:
    """Inboxes whose session "s" has a reply to each word, numbered from 1."""
    inboxes = Inboxes(settings or Settings())
    inboxes.reserve("s", len(words))
    for word in words:
        inboxes.add("s", reply(word), 0.0)
    return inboxes


def words_after(inboxes: Inboxes, number: int, most: int = 100) -> list[str]:
    return [each.original for each in inboxes.after("s", number, most)]


def test_replies_come_in_the_order_in_which_they_arrived_and_stay() -> None:
    inboxes = filled("c", "a", "b")
    assert words_after(inboxes, 0) == words_after(inboxes, 0) == ["c", "a", "b"]
    assert words_after(inboxes, 0, most=2) == ["c", "a"]
    assert words_after(inboxes, 1) == ["a", "b"]
    assert [each.id for each in inboxes.after("s", 0, 9)] == [1, 2, 3]


def test_confirmed_replies_are_forgotten_and_the_others_stay() -> None:
    inboxes = filled("a", "b", "c")
    assert inboxes.forget("s", 2) == 2
    assert words_after(inboxes, 0) == ["c"] and inboxes.of("s").waiting == 1
    assert inboxes.forget("s", 2) == 0, "again, for the response was lost"
    assert inboxes.forget("s", 3) == 1
    assert (len(inboxes), inboxes.held, inboxes.of("s").waiting) == (0, 0, 0)
    assert inboxes.forget("s", 3) == inboxes.forget("nobody", 3) == 0


@pytest.mark.parametrize("number", [4, 10**15])
def test_a_number_that_was_not_given_yet_confirms_nothing_and_hides_nothing(number: int) -> None:
    inboxes = filled("a", "b", "c")
    assert inboxes.forget("s", number) == 0
    assert words_after(inboxes, number) == ["a", "b", "c"]


def test_numbers_go_on_for_a_session_that_was_empty() -> None:
    inboxes = filled("a")
    inboxes.forget("s", 1)
    inboxes.reserve("s", 1)
    inboxes.add("s", reply("b"), 0.0)
    assert words_after(inboxes, 1) == ["b"]


def test_numbers_grow_with_the_time_and_over_a_clock_that_goes_back() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("s", 3)
    for now in (2.0, 2.0, 1.0):
        inboxes.add("s", reply("a"), now)
    assert [each.id for each in inboxes.after("s", 0, 9)] == [2_000_000, 2_000_001, 2_000_002]


def test_a_session_sees_its_own_words_only() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("mine", 1)
    inboxes.reserve("yours", 1)
    inboxes.add("yours", reply("b"), 0.0)
    assert inboxes.after("mine", 0, 9) == []
    assert inboxes.forget("mine", 1) == 0
    assert [each.original for each in inboxes.after("yours", 0, 9)] == ["b"]


def test_a_session_that_has_all_its_words_leaves_nothing_behind() -> None:
    inboxes = Inboxes(Settings())
    assert inboxes.of("s").waiting == len(inboxes) == 0
    inboxes = filled("a")
    inboxes.forget("s", 1)
    assert len(inboxes) == 0


def test_replies_that_nobody_confirms_are_dropped_after_their_time() -> None:
    inboxes = Inboxes(Settings())
    inboxes.reserve("s", 3)
    inboxes.add("s", reply("old"), 1000.0)
    inboxes.add("s", reply("new"), 1001.0)
    assert inboxes.expire(999.9 + MAX_AGE) == 0
    assert inboxes.expire(1000.0 + MAX_AGE) == 1
    assert words_after(inboxes, 0) == ["new"]
    assert inboxes.of("s").waiting == 2, "a word that is with a worker never expires here"


def test_words_that_do_not_fit_are_refused_together_before_any_is_sent() -> None:
    inboxes = Inboxes(Settings(max_waiting_per_session=3))
    inboxes.reserve("s", 2)
    with pytest.raises(Full, match="2 of your words.*FRONTEND_MAX_WAITING_PER_SESSION") as caught:
        inboxes.reserve("s", 2)
    assert caught.value.mine
    inboxes.reserve("s", 1)
    assert inboxes.of("s").waiting == 3


def test_one_session_may_fill_its_room_but_all_share_one_limit_until_words_are_confirmed() -> None:
    inboxes = Inboxes(Settings(max_waiting_per_session=2, max_waiting=3))
    inboxes.reserve("mine", 2)
    with pytest.raises(Full, match="FRONTEND_MAX_WAITING") as caught:
        inboxes.reserve("yours", 2)
    assert not caught.value.mine
    inboxes.add("mine", reply("a"), 0.0)
    with pytest.raises(Full):
        inboxes.reserve("yours", 2)
    inboxes.forget("mine", 1)
    inboxes.reserve("yours", 2)
    assert (inboxes.out, inboxes.held) == (3, 0)


@pytest.mark.parametrize("gone", ["confirmed", "expired"])
def test_room_comes_back_when_a_reply_is(gone: str) -> None:
    inboxes = Inboxes(Settings(max_waiting_per_session=1, max_waiting=1))
    for number in range(1, 10):
        now = number * 1000.0
        inboxes.reserve("s", 1)
        inboxes.add("s", reply("a"), now)
        (came,) = inboxes.after("s", 0, 9)
        assert (inboxes.forget("s", came.id) if gone == "confirmed" else inboxes.expire(now + MAX_AGE)) == 1


def test_a_further_answer_takes_room_until_it_is_confirmed_but_is_no_word_that_waits() -> None:
    inboxes = filled("a", settings=Settings(max_waiting_per_session=2))
    assert inboxes.add("s", again("a"), 0.0)
    assert inboxes.of("s").waiting == 1
    assert not inboxes.add("s", again("a"), 0.0), "there is no room"
    assert (inboxes.forget("s", 1), inboxes.of("s").waiting, inboxes.held) == (1, 0, 1)
    assert inboxes.forget("s", 2) == 1
    assert inboxes.add("s", again("a"), 0.0), "all words were confirmed"
    assert (inboxes.of("s").waiting, len(inboxes), inboxes.out) == (0, 1, 0)
