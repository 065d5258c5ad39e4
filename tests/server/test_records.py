"""The records of messages for the journal and the observer."""

from __future__ import annotations

from mqlight.server.destination import Destination, DestinationName
from mqlight.server.journal import Journal, Receipt
from mqlight.server.queued import MOST_COUNT, Queued, Stored
from mqlight.server.records import Records
from server.world import message

DESTINATION = Destination(DestinationName("t", share="s"), 1)


def test_without_a_journal_and_an_observer_only_the_counts_change() -> None:
    records, queued = Records(None), Queued.of(message("m"), None, 1)
    records.tried(queued)
    records.expire(DESTINATION, queued, 5.0)
    records.set_life(DESTINATION, 60.0, None)
    assert (queued.count, records.expired, DESTINATION.ttl) == (1, 1, 60.0)
    assert records.trace(DESTINATION, queued) is None


def test_a_delivery_count_stays_one_that_a_header_can_carry() -> None:
    records, queued = Records(None), Queued.of(message("m"), None, 1)
    queued.count = MOST_COUNT
    records.tried(queued)
    assert queued.count == MOST_COUNT


def test_the_journal_gets_what_becomes_of_stored_messages_alone() -> None:
    journal = Journal()
    records = Records(journal)
    records.tried(Queued.of(message("m"), None, 1))
    records.done(Queued.of(message("m"), None, 1))
    assert not journal
    told: list[object] = []
    stored, receipt = Stored.of(message("m"), None, 2), Receipt(told.append)
    journal.put(DESTINATION, stored, receipt, 0.0, 0.0)
    receipt.safe()
    records.done(stored)
    assert told == [None] and not journal, "a message that is settled before it is written is never written"


def test_a_changed_time_to_live_is_kept_and_the_same_again_is_no_change() -> None:
    journal, destination = Journal(), Destination(DestinationName("t", share="s"), 1)
    records = Records(journal)
    records.set_life(destination, 60.0, None)
    assert list(journal.take(0.0).destinations) == [destination]
    records.set_life(destination, 60.0, None)
    assert not journal
