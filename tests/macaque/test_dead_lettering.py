from __future__ import annotations

from typing import Any

import pytest

from macaque.dead_letter import decode_dead_letter
from macaque.dead_lettering import DeadLettering
from macaque.registry import Registry
from macaque.retries import LONGEST
from mqlight.amqp.message import Message, encode
from mqlight.amqp.types import Condition, Outcome
from mqlight.dialects.artemis import Artemis
from mqlight.dialects.base import Peer
from mqlight.dialects.keys import key_of_topic
from outcomes import FULL, LARGE, World


class Undeliverable(World):
    dialect: Any = None

    def wall(self) -> float:
        return 1_700_000_000.0

    def send(self) -> list[None]:
        kept: list[None] = []
        service = Registry().add("work", "w", 1, len)
        connection: Any = self
        dead_letters = DeadLettering(
            connection, service, "macaque_1", connection, connection, self.replies,
            on_kept=lambda: kept.append(None),
        )  # fmt: skip
        dead_letters.send(self.job, 5, "KeyError: 'x'")
        return kept


def test_a_caller_is_told_when_the_broker_has_the_letter_and_then_its_request_is_settled() -> None:
    world = Undeliverable()
    kept = world.send()
    letter = decode_dead_letter(world.sent[0][0])
    assert (letter.endpoint, letter.share, letter.topic, letter.server) == ("work", "w", "work", "macaque_1")
    assert (letter.count, letter.reason, letter.message) == (5, "KeyError: 'x'", b"the request")
    assert not kept
    world.tell(Outcome.ACCEPTED)
    assert len(kept) == 1 and world.delivery.answers == []
    assert b"undeliverable" in world.sent[1][0]
    world.tell(Outcome.ACCEPTED)
    assert world.delivery.answers == ["accepted"]


def test_a_letter_has_the_topic_of_its_request_and_not_the_address_of_the_broker() -> None:
    world = Undeliverable()
    world.dialect = Artemis(Peer("broker", None, {}, (), ()))
    world.delivery.message = encode(Message(body="", to=key_of_topic("work/v1.0/now")))
    world.send()
    assert decode_dead_letter(world.sent[0][0]).topic == "work/v1.0/now"


def test_a_letter_that_is_too_large_is_sent_without_its_request_and_says_so() -> None:
    world = Undeliverable()
    world.send()
    world.tell(Outcome.REJECTED, LARGE)
    letter = decode_dead_letter(world.sent[1][0])
    assert (letter.message, letter.count) == (b"", 5)
    assert letter.reason.startswith("KeyError: 'x' (the request is left out, because a dead letter with its 11 bytes")
    world.tell(Outcome.REJECTED, LARGE)
    assert [seconds for seconds, _, _ in world.held] == [LONGEST], "what is too large even so stays a request"


@pytest.mark.parametrize(
    "outcome, condition", [(Outcome.REJECTED, FULL), (Outcome.RELEASED, None), (Outcome.MODIFIED, None)]
)
def test_a_letter_that_is_not_kept_for_now_stays_a_request(outcome: Outcome, condition: Condition | None) -> None:
    world = Undeliverable()
    kept = world.send()
    world.tell(outcome, condition)
    assert world.wait() == LONGEST
    assert not kept and world.delivery.answers == ["released"]
