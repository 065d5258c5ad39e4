from __future__ import annotations

import gc

import pytest

from mqlight.server.publication import Publication
from mqlight.server.queued import MOST_COUNT, Queued, Stored


def test_a_message_that_came_in_keeps_what_is_passed_on() -> None:
    message = Queued.of(Publication("t", 5, True, 2, 9, b"rest"), 7.5, 3)
    assert (message.rest, message.durable, message.priority, message.count) == (b"rest", True, 9, 2)
    assert (message.expires, message.sequence, message.given, message.losses, message.begun) == (7.5, 3, 0, 0, False)


@pytest.mark.parametrize(
    ("count", "priority", "stored"), [(-1, -1, (0, 0)), (2**40, 300, (MOST_COUNT, 255)), (0, 4, (0, 4))]
)
def test_a_number_that_cannot_be_becomes_the_nearest_that_can(
    count: int, priority: int, stored: tuple[int, int]
) -> None:
    message = Queued.of(Publication("t", None, False, count, priority, b""), None, 1)
    assert (message.count, message.priority) == stored


def test_one_that_outlives_the_server_says_so() -> None:
    stored = Stored.of(Publication("t", None, False, 0, 4, b""), None, 1)
    assert type(stored) is Stored and stored.stored and not Queued.stored


def test_the_collector_of_garbage_does_not_look_through_messages() -> None:
    assert not gc.is_tracked(Queued.of(Publication("t", None, False, 0, 4, b""), None, 1))
