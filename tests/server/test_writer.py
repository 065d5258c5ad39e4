"""The writer: transactions while the event loop goes on, and a store that fails and works again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from mqlight.server import writer as module
from mqlight.server.writer import Writer
from server.world import DurableWorld


class Written(DurableWorld):
    """A durable broker whose journal a writer writes. ``flushed`` is set after each transaction."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.flushed = Event()
        self.writer = Writer(self.broker, self.journal, self.store, self.flushed.set)

    def wait_until(self, done: Callable[[], object]) -> None:
        with gevent.Timeout(10):
            while not done():
                self.flushed.wait()
                self.flushed.clear()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Written]:
    world = Written(tmp_path)
    yield world
    world.writer.close()


def test_a_sender_is_told_after_the_commit_and_the_loop_goes_on_meanwhile(world: Written) -> None:
    world.listen(share="s", ttl=60)
    world.send("a", "b")
    world.writer.poke()
    assert world.safe == []
    world.wait_until(lambda: world.safe)
    assert world.safe == ["a", "b"] and not world.journal


def test_a_message_that_a_consumer_holds_is_written_without_another_poke(world: Written) -> None:
    world.listen(share="s", ttl=60, credit=1)
    world.writer.save()
    world.now = time.monotonic()
    world.send("given")
    assert not world.journal.urgent
    world.writer.poke()
    world.wait_until(lambda: world.safe)
    assert world.safe == ["given"]


def test_everything_is_written_before_the_end_and_closing_twice_is_harmless(world: Written, tmp_path: Path) -> None:
    world.listen(share="s", ttl=60)
    world.send(*map(str, range(5)))
    world.writer.close()
    world.writer.close()
    assert world.safe == list("01234")
    again = DurableWorld(tmp_path)
    assert again.waiting() == list("01234")
    again.store.close()


def test_messages_are_refused_while_the_store_fails_and_taken_when_it_works_again(
    world: Written, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    world.listen(share="s", ttl=60)
    world.writer.save()
    world.store._db.execute("PRAGMA query_only = ON")
    world.send("lost")
    world.writer.poke()
    world.wait_until(lambda: world.refused)
    assert world.journal.failing is not None and "readonly" in world.refused["lost"].description
    world.store._db.execute("PRAGMA query_only = OFF")
    world.wait_until(lambda: world.journal.failing is None)
    world.send("kept")
    world.writer.poke()
    world.wait_until(lambda: world.safe)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_saving_gives_up_while_the_store_fails(world: Written) -> None:
    world.listen(share="s", ttl=60)
    world.store._db.execute("PRAGMA query_only = ON")
    world.send("m")
    world.writer.save()
    assert world.journal.failing is not None and list(world.refused) == ["m"]
    world.store._db.execute("PRAGMA query_only = OFF")
