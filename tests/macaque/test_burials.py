from __future__ import annotations

from typing import Any

import pytest

from macaque.burials import Burials
from macaque.letter import decode_letter
from macaque.registry import Service
from macaque.retries import LONGEST
from mqlight.amqp.types import Condition, Outcome
from outcomes import FULL, LARGE, World


class Grave(World):
    def bury(self) -> list[None]:
        buried: list[None] = []
        service = Service("work", "w", 1, len)
        connection: Any = self
        burials = Burials(
            connection, service, "macaque_1", connection, connection, self.step, self.replies,
            on_buried=lambda: buried.append(None),
        )  # fmt: skip
        burials.bury(self.job, 5, "KeyError: 'x'")
        return buried


def test_a_caller_is_told_when_the_broker_has_the_letter_and_then_its_request_is_settled() -> None:
    world = Grave()
    buried = world.bury()
    letter = decode_letter(world.sent[0][0])
    assert (letter.endpoint, letter.share, letter.topic, letter.server) == ("work", "w", "work", "macaque_1")
    assert (letter.count, letter.reason, letter.message) == (5, "KeyError: 'x'", b"the request")
    assert not buried
    world.tell(Outcome.ACCEPTED)
    assert len(buried) == 1 and world.delivery.answers == []
    assert b"undeliverable" in world.sent[1][0]
    world.tell(Outcome.ACCEPTED)
    assert world.delivery.answers == ["accepted"]


def test_a_letter_that_is_too_large_is_sent_without_its_request_and_says_so() -> None:
    world = Grave()
    world.bury()
    world.tell(Outcome.REJECTED, LARGE)
    letter = decode_letter(world.sent[1][0])
    assert (letter.message, letter.count) == (b"", 5)
    assert letter.reason.startswith("KeyError: 'x' (the request is left out, because a letter with its 11 bytes")
    world.tell(Outcome.REJECTED, LARGE)
    assert [seconds for seconds, _, _ in world.held] == [LONGEST], "what is too large even so stays a request"


@pytest.mark.parametrize(
    "outcome, condition", [(Outcome.REJECTED, FULL), (Outcome.RELEASED, None), (Outcome.MODIFIED, None)]
)
def test_a_letter_that_is_not_kept_for_now_stays_a_request(outcome: Outcome, condition: Condition | None) -> None:
    world = Grave()
    buried = world.bury()
    world.tell(outcome, condition)
    assert world.wait() == LONGEST
    assert not buried and world.delivery.answers == ["released"]
