"""Outcomes, conditions, termini and peers, as both ends know them."""

from __future__ import annotations

import dataclasses

import pytest

from mqlight.amqp.types import Condition, Outcome, Peer, Terminus


def test_an_outcome_is_the_descriptor_of_its_state() -> None:
    """Sections 3.4.2 to 3.4.5."""
    assert [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.RELEASED, Outcome.MODIFIED] == [0x24, 0x25, 0x26, 0x27]
    assert Outcome.UNDELIVERABLE & 0xFF == Outcome.MODIFIED


def test_a_condition_reads_as_its_sentence_and_its_name() -> None:
    assert str(Condition("amqp:not-allowed", "The queue is full.")) == "The queue is full. (amqp:not-allowed)"
    assert str(Condition("amqp:not-allowed")) == "no description (amqp:not-allowed)"


def test_a_terminus_is_a_value() -> None:
    assert Terminus("t") == Terminus("t", timeout=0) != Terminus("t", timeout=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Terminus("t").address = "other"  # type: ignore[misc]


def test_a_peer_is_a_value() -> None:
    peer = Peer("id", None, {"product": "p"}, ("A",), ())
    assert peer == Peer("id", None, {"product": "p"}, ("A",), ()) != Peer("id", "host", {"product": "p"}, ("A",), ())
