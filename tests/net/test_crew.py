"""Crew and Lane: who reads, who runs user code, and that the one never waits for the other.

The core of this file runs again on greenlets, in a process of its own: see the end.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from threading import get_ident
from time import monotonic
from typing import Any

import pytest

import greenlets
from mqlight.net import crew
from mqlight.net.crew import PATIENCE, QUICK, Crew, Lane

BOUND = 30.0


class Reader:
    """A crew whose reading role takes functions from :attr:`input` and calls them, as bytes from a socket would."""

    def __init__(self) -> None:
        self.input: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self.exits: list[SystemExit] = []
        self.readers: list[int] = []
        """The threads that took the reading role, one after the other."""
        self.crew = Crew("test", self._read, daemon=True, on_exit=self.exits.append)

    def _read(self, epoch: int) -> None:
        crew = self.crew
        self.readers.append(get_ident())
        while crew.keeps_reading(epoch):
            if crew.ready and not crew.run_ready(epoch):
                return
            function = self.input.get(timeout=BOUND)
            if function is None:
                return
            if not crew.keeps_reading(epoch):
                self.input.put(function)  # it was for whoever reads now
                return
            function()

    def take(self, function: Callable[[], object]) -> None:
        """Have the reading thread call ``function()``."""
        self.input.put(function)

    def submit(self, lane: Lane, function: Callable[..., object], *args: Any) -> None:
        """Have the reading thread submit to a lane, as messages do."""
        self.take(lambda: lane.submit(function, *args))

    def close(self) -> None:
        self.crew.stop()
        self.input.put(None)


class Record:
    """The functions that ran, their threads, and the most at once; functions that wait until they are let go."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.ran: list[Any] = []
        self.threads: list[int] = []
        self.running = self.most = 0
        self.gate = threading.Event()

    def note(self, what: Any = None) -> None:
        with self.changed:
            self.ran.append(what)
            self.threads.append(get_ident())
            self.changed.notify_all()

    def block(self, what: Any = None) -> None:
        with self.changed:
            self.running += 1
            self.most = max(self.most, self.running)
            self.changed.notify_all()
        assert self.gate.wait(BOUND)
        with self.changed:
            self.running -= 1
        self.note(what)

    def wait(self, count: int) -> None:
        """Until ``count`` functions have run."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.ran) >= count, BOUND), f"only {self.ran} ran"

    def wait_running(self, count: int) -> None:
        """Until ``count`` functions are blocked."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.running >= count, BOUND)


@pytest.fixture
def reader() -> Iterator[Reader]:
    """A crew that reads."""
    reader = Reader()
    reader.crew.start()
    yield reader
    reader.close()


@pytest.fixture
def record() -> Iterator[Record]:
    """A record of the functions that ran. At its end it lets go all that still wait."""
    record = Record()
    yield record
    record.gate.set()


def quick_lane(crew: Crew, width: int = 1) -> Lane:
    """A lane that counts as quick however busy this machine is."""
    lane = Lane(crew, width)
    lane.mean = -1e9
    return lane


def look_until_handed_over(reader: Reader) -> None:
    """Be the clock, at a time when patience is over."""
    before = reader.crew.epoch
    deadline = monotonic() + BOUND
    while reader.crew.epoch == before:
        assert monotonic() < deadline
        reader.crew.look_after(monotonic() + 2 * PATIENCE)


def wait_until_reading(reader: Reader, number: int) -> None:
    """Until the ``number``-th thread has the reading role."""
    deadline = monotonic() + BOUND
    while len(reader.readers) < number:
        assert monotonic() < deadline


# Lanes


def test_functions_of_one_lane_run_in_the_order_of_their_submission(reader: Reader, record: Record) -> None:
    lane = Lane(reader.crew, 1)
    for number in range(200):
        if number % 3:
            reader.submit(lane, record.note, number)
        else:
            done = threading.Event()
            reader.take(done.set)
            assert done.wait(BOUND)  # what the reader had to submit comes before
            lane.submit(record.note, number)
    record.wait(200)
    assert record.ran == list(range(200))


def test_the_order_is_kept_when_functions_block(reader: Reader, record: Record) -> None:
    lane = Lane(reader.crew, 1)
    reader.submit(lane, record.block, 0)
    record.wait_running(1)
    look_until_handed_over(reader)
    for number in range(1, 50):
        reader.submit(lane, record.note, number)
    done = threading.Event()
    reader.take(done.set)
    assert done.wait(BOUND) and record.ran == []
    record.gate.set()
    record.wait(50)
    assert record.ran == list(range(50))


@pytest.mark.parametrize("width", [1, 3])
def test_no_more_functions_run_at_once_than_the_lane_is_wide(reader: Reader, record: Record, width: int) -> None:
    lane = Lane(reader.crew, width)
    for number in range(10):
        lane.submit(record.block, number)
    record.wait_running(width)
    record.gate.set()
    record.wait(10)
    assert record.most == width
    assert sorted(record.ran) == list(range(10))


def test_lanes_do_not_wait_for_each_other(reader: Reader, record: Record) -> None:
    slow, quick = Lane(reader.crew, 1), Lane(reader.crew, 1)
    slow.submit(record.block, "slow")
    record.wait_running(1)
    quick.submit(record.note, "quick")
    record.wait(1)
    assert record.ran == ["quick"]


def test_a_function_may_submit_to_its_own_lane(reader: Reader, record: Record) -> None:
    lane = Lane(reader.crew, 1)

    def count(number: int) -> None:
        record.note(number)
        if number < 20:
            lane.submit(count, number + 1)

    reader.submit(lane, count, 0)
    record.wait(21)
    assert record.ran == list(range(21))


def test_arguments_are_not_kept_when_the_function_is_over(reader: Reader, record: Record) -> None:
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    lane = Lane(reader.crew, 1)
    lane.submit(lambda thing: None, thing)
    del thing
    lane.submit(lambda: record.note(gone()))
    record.wait(1)
    assert record.ran == [None]


# The reading role


def test_quick_functions_run_on_the_reading_thread(reader: Reader, record: Record) -> None:
    lane = quick_lane(reader.crew, 4)
    for number in range(10):
        reader.submit(lane, record.note, number)
        record.wait(number + 1)
    assert set(record.threads) == {reader.readers[0]} and len(reader.readers) == 1


def test_functions_from_elsewhere_run_on_other_threads(reader: Reader, record: Record) -> None:
    Lane(reader.crew, 1).submit(record.note)
    record.wait(1)
    assert record.threads[0] not in (*reader.readers, get_ident())


def test_a_function_that_blocks_loses_its_thread_the_reading_role_and_reading_goes_on(
    reader: Reader, record: Record
) -> None:
    slow, quick = quick_lane(reader.crew, 1), quick_lane(reader.crew, 1)
    reader.submit(slow, record.block, "slow")
    record.wait_running(1)
    look_until_handed_over(reader)
    reader.submit(quick, record.note, "quick")
    record.wait(1)
    assert record.ran == ["quick"]
    assert record.threads == [reader.readers[1]] and reader.readers[0] != reader.readers[1]
    record.gate.set()
    record.wait(2)
    assert record.threads[1] == reader.readers[0]
    reader.submit(quick, record.note, "more")
    record.wait(3)
    assert len(reader.readers) == 2, "the thread that was slow reads again beside the other"


def test_who_lost_the_reading_role_is_not_taken_for_the_reader_by_the_clock(reader: Reader, record: Record) -> None:
    lane = quick_lane(reader.crew)
    first, second = threading.Event(), threading.Event()

    def begin(mine: threading.Event) -> None:
        record.note(mine)
        assert mine.wait(BOUND)

    reader.take(lambda: (lane.submit(begin, first), lane.submit(begin, second)))
    record.wait(1)
    look_until_handed_over(reader)
    first.set()
    record.wait(2)
    assert reader.crew.look_after(monotonic() + 100) is False
    second.set()


def test_what_waits_behind_a_function_that_blocks_is_run_by_the_next_reader(reader: Reader, record: Record) -> None:
    slow, quick = quick_lane(reader.crew, 1), quick_lane(reader.crew, 1)

    def both() -> None:
        slow.submit(record.block, "slow")
        quick.submit(record.note, "quick")

    reader.take(both)
    record.wait_running(1)
    look_until_handed_over(reader)
    record.wait(1)
    assert record.ran == ["quick"]


def test_what_waits_in_the_lane_of_a_function_that_blocks_is_run_by_others(reader: Reader, record: Record) -> None:
    lane = Lane(reader.crew, 2)

    def both() -> None:
        lane.submit(record.block, "slow")
        lane.submit(record.note, "next")

    reader.take(both)
    record.wait_running(1)
    look_until_handed_over(reader)
    record.wait(1)
    assert record.ran == ["next"] and record.threads[0] != reader.readers[0]


def test_a_quick_function_leaves_the_clock_nothing_to_do(reader: Reader, record: Record) -> None:
    lane = quick_lane(reader.crew, 1)
    reader.submit(lane, record.note)
    record.wait(1)
    done = threading.Event()
    reader.take(done.set)
    assert done.wait(BOUND)
    assert reader.crew.look_after(monotonic() + 100) is False
    assert len(reader.readers) == 1


def test_a_thread_that_loses_the_role_between_two_functions_does_not_count_as_its_successor(
    reader: Reader, record: Record
) -> None:
    """Else the role would be taken from the successor while that reads, and two threads would read one socket."""

    class Untimely(deque[Any]):
        """The clock strikes just when the second function is taken."""

        taken = 0

        def popleft(self) -> Any:
            taken = super().popleft()
            self.taken += 1
            if self.taken == 2:
                look_until_handed_over(reader)
                wait_until_reading(reader, 2)
            return taken

    lane = quick_lane(reader.crew)
    lane._waiting = Untimely()
    reader.take(lambda: [lane.submit(record.note, number) for number in range(3)])
    record.wait(3)
    assert len(reader.readers) == 2 and record.ran == [0, 1, 2]
    assert reader.crew.look_after(monotonic() + 100) is False
    assert len(reader.readers) == 2


def test_patience_is_not_over_at_once(reader: Reader, record: Record) -> None:
    reader.submit(quick_lane(reader.crew, 1), record.block)
    record.wait_running(1)
    assert reader.crew.busy_since is not None
    epoch = reader.crew.epoch
    assert reader.crew.look_after(reader.crew.busy_since + PATIENCE / 2) is True
    assert reader.crew.keeps_reading(epoch)


def test_the_clock_is_woken_when_it_sleeps_and_user_code_begins(reader: Reader, record: Record) -> None:
    reader.crew.wake_clock = lambda: record.note("woken")
    reader.crew.clock_sleeps = True
    reader.submit(quick_lane(reader.crew, 1), record.note, "ran")
    record.wait(2)
    assert record.ran == ["woken", "ran"]


def test_a_lane_that_was_slow_gets_threads_of_its_own_until_it_is_quick_again(reader: Reader, record: Record) -> None:
    lane = Lane(reader.crew, 1)
    lane.mean = 1.01 * QUICK
    reader.submit(lane, record.note, 0)
    record.wait(1)
    assert record.threads[0] not in reader.readers
    deadline = monotonic() + BOUND
    while record.threads[-1] != reader.readers[0]:
        assert monotonic() < deadline
        reader.submit(lane, record.note)
        record.wait(len(record.ran) + 1)


def test_who_is_about_to_wait_hands_the_reading_over(reader: Reader, record: Record) -> None:
    answer = threading.Event()

    def asks() -> None:
        reader.crew.before_blocking()
        reader.take(answer.set)
        assert answer.wait(BOUND)
        record.note("answered")

    reader.submit(quick_lane(reader.crew, 1), asks)
    record.wait(1)
    assert len(reader.readers) == 2 and record.threads[0] == reader.readers[0]


def test_who_does_not_read_hands_nothing_over(reader: Reader, record: Record) -> None:
    reader.crew.before_blocking()
    lane = Lane(reader.crew, 1)
    lane.submit(lambda: (reader.crew.before_blocking(), record.note()))
    record.wait(1)
    done = threading.Event()
    reader.take(done.set)
    assert done.wait(BOUND)
    assert len(reader.readers) == 1


def test_only_the_reading_thread_is_the_reader(reader: Reader, record: Record) -> None:
    reader.take(lambda: record.note(reader.crew.reader == get_ident()))
    record.wait(1)
    assert record.ran == [True] and reader.crew.reader != get_ident()


# Faults


@pytest.mark.parametrize("where", ["reading thread", "other thread"])
def test_an_exception_is_logged_and_the_thread_lives_on(
    reader: Reader, record: Record, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        record.note("failing")
        raise ValueError("oh dear")

    lane = Lane(reader.crew, 1)
    submit = lane.submit if where == "other thread" else lambda *args: reader.submit(lane, *args)
    submit(fails)
    submit(record.note, "after")
    record.wait(2)
    (logged,) = caplog.records
    assert logged.exc_info and str(logged.exc_info[1]) == "oh dear" and "fails" in logged.getMessage()


def test_who_asks_for_the_end_of_the_process_is_heard(reader: Reader, record: Record) -> None:
    lane = Lane(reader.crew, 1)
    lane.submit(sys.exit, 3)
    lane.submit(record.note)
    record.wait(1)
    assert [error.code for error in reader.exits] == [3]


def test_a_task_that_fails_is_logged(reader: Reader, record: Record, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise ValueError("oh dear")

    reader.crew.run(fails)
    reader.crew.run(record.note)
    record.wait(1)
    deadline = monotonic() + BOUND
    while not caplog.records:
        assert monotonic() < deadline
    assert "fails failed" in caplog.text and "oh dear" in caplog.text


# The end


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("test-")]


def test_stop_ends_the_threads_that_read_and_those_that_are_idle(reader: Reader, record: Record) -> None:
    lane = Lane(reader.crew, 3)
    for _ in range(3):
        lane.submit(record.block)
    record.wait_running(3)
    threads = alive()
    assert len(threads) >= 4
    record.gate.set()
    record.wait(3)
    reader.close()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()


def test_a_thread_that_is_busy_ends_when_it_is_done(reader: Reader, record: Record) -> None:
    lane = Lane(reader.crew, 1)
    lane.submit(record.block)
    record.wait_running(1)
    threads = alive()
    reader.close()
    record.gate.set()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()


def test_what_waits_at_the_end_is_run_all_the_same(reader: Reader, record: Record) -> None:
    """Functions that wait to be told of the end are told."""
    slow, quick = quick_lane(reader.crew, 1), quick_lane(reader.crew, 1)

    def both() -> None:
        slow.submit(record.block, "slow")
        quick.submit(record.note, "quick")

    reader.take(both)
    record.wait_running(1)
    reader.crew.stop()
    record.wait(1)
    assert record.ran == ["quick"]
    quick.submit(record.note, "late")
    record.wait(2)
    assert len(reader.readers) == 1


def test_nobody_reads_after_the_end(reader: Reader, record: Record) -> None:
    reader.submit(quick_lane(reader.crew, 1), record.block)
    record.wait_running(1)
    reader.crew.stop()
    assert reader.crew.look_after(monotonic() + 100) is False
    record.gate.set()
    record.wait(1)
    assert len(reader.readers) == 1


def test_a_crew_may_be_started_again(reader: Reader, record: Record) -> None:
    lane = quick_lane(reader.crew, 1)
    reader.submit(lane, record.note, 1)
    record.wait(1)
    reader.close()
    reader.input = queue.Queue()
    reader.crew.start()
    reader.submit(lane, record.note, 2)
    record.wait(2)
    assert record.threads[1] == reader.readers[-1]


def test_helpers_are_used_again(reader: Reader, record: Record) -> None:
    lane = Lane(reader.crew, 1)
    for number in range(20):
        lane.submit(record.note, number)
        record.wait(number + 1)
    assert len(set(record.threads)) <= 3


def test_helpers_with_nothing_to_do_end_but_for_one(
    reader: Reader, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "IDLE", 0.01)
    lane = Lane(reader.crew, 5)
    for _ in range(5):
        lane.submit(record.block)
    record.wait_running(5)
    record.gate.set()
    record.wait(5)
    deadline = monotonic() + BOUND
    while len(alive()) > 2:  # the one that reads, and the one that is kept
        assert monotonic() < deadline
    lane.submit(record.note)
    record.wait(6)
    assert len(alive()) == 2


def wait_until_idle(reader: Reader, count: int = 1) -> None:
    """Until so many threads wait for a task: the one that is kept."""
    deadline = monotonic() + BOUND
    while reader.crew._idle != count:
        assert monotonic() < deadline


class NoThread:
    """In place of `threading.Thread`, while the system has none to give."""

    def __init__(self, *args: Any, **options: Any) -> None:
        raise RuntimeError("can't start new thread")


def test_the_kept_thread_takes_the_reading_over_where_none_can_be_started(
    reader: Reader, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until_idle(reader)
    lane = quick_lane(reader.crew)
    wait_until_reading(reader, 1)
    monkeypatch.setattr(threading, "Thread", NoThread)
    reader.submit(lane, record.block, "slow")
    record.wait_running(1)
    look_until_handed_over(reader)
    reader.take(lambda: record.note("read"))
    record.wait(1)
    assert record.ran == ["read"] and len(set(reader.readers)) == 2


def test_the_reading_role_stays_where_it_is_when_no_thread_can_take_it(
    reader: Reader, record: Record, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wait_until_idle(reader)
    monkeypatch.setattr(threading, "Thread", NoThread)
    first, second = quick_lane(reader.crew), quick_lane(reader.crew)
    reader.submit(first, record.block, "slow")
    record.wait_running(1)
    look_until_handed_over(reader)  # to the one that is kept
    reader.submit(second, record.block, "slow as well")
    record.wait_running(2)
    epoch = reader.crew.epoch
    reader.crew.look_after(monotonic() + 2 * PATIENCE)
    assert reader.crew.epoch == epoch
    reader.take(lambda: record.note("read"))
    record.gate.set()
    record.wait(3)
    assert set(record.ran) == {"slow", "slow as well", "read"}
    assert caplog.text.count("cannot start another thread") == 1


def test_a_lane_without_a_thread_is_run_as_soon_as_there_is_one(
    reader: Reader, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until_idle(reader)
    with monkeypatch.context() as none:
        none.setattr(threading, "Thread", NoThread)
        lanes = [Lane(reader.crew, 1) for _ in range(3)]
        for lane in lanes:
            lane.submit(record.block)
        record.wait_running(1)
        assert len(reader.crew.stranded) == 2
        assert reader.crew.look_after(monotonic()), "the clock has to look again"
    reader.crew.look_after(monotonic())
    record.wait_running(3)
    assert not reader.crew.stranded


def test_what_is_stranded_at_the_end_is_run_by_a_thread_that_is_busy(
    reader: Reader, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until_idle(reader)
    busy, lane = Lane(reader.crew, 1), Lane(reader.crew, 1)
    monkeypatch.setattr(threading, "Thread", NoThread)
    busy.submit(record.block, "busy")
    record.wait_running(1)
    lane.submit(record.note, "stranded")
    reader.close()
    record.gate.set()
    record.wait(2)
    assert set(record.ran) == {"busy", "stranded"}


def test_what_is_submitted_after_the_end_is_run_by_a_thread_that_is_still_there(
    reader: Reader, record: Record, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wait_until_idle(reader)
    lane = Lane(reader.crew, 1)
    monkeypatch.setattr(threading, "Thread", NoThread)

    def leave() -> None:
        reader.close()
        lane.submit(record.note, "stopped")

    reader.crew.tell(leave)
    record.wait(1)
    assert record.ran == ["stopped"] and not caplog.records


def test_a_crew_that_cannot_start_says_so_and_may_be_started_later(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader()
    with monkeypatch.context() as none:
        none.setattr(threading, "Thread", NoThread)
        with pytest.raises(RuntimeError, match="the system has none for it"):
            reader.crew.start()
    reader.crew.start()
    reader.take(record.note)
    record.wait(1)
    reader.close()


def test_a_reading_role_that_fails_is_taken_up_again(reader: Reader, record: Record) -> None:
    def fails() -> None:
        raise ValueError("oh dear")

    reader.take(fails)
    reader.take(record.note)
    record.wait(1)


def test_a_task_told_to_an_idle_thread_leaves_the_count_of_them_right(reader: Reader, record: Record) -> None:
    wait_until_idle(reader)
    wait_until_reading(reader, 1)
    for number in range(3):
        reader.crew.tell(record.note)
        record.wait(number + 1)
    wait_until_idle(reader)
    reader.crew.run(record.note)
    record.wait(4)
    wait_until_idle(reader)


def test_nothing_is_logged_when_all_is_well(reader: Reader, record: Record, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Lane(reader.crew, 1).submit(record.note)
    record.wait(1)
    assert caplog.records == []


# On greenlets

ON_GREENLETS = [
    test_functions_of_one_lane_run_in_the_order_of_their_submission,
    test_the_order_is_kept_when_functions_block,
    test_lanes_do_not_wait_for_each_other,
    test_quick_functions_run_on_the_reading_thread,
    test_a_function_that_blocks_loses_its_thread_the_reading_role_and_reading_goes_on,
    test_who_is_about_to_wait_hands_the_reading_over,
    test_a_thread_that_is_busy_ends_when_it_is_done,
    test_what_waits_at_the_end_is_run_all_the_same,
    test_a_crew_may_be_started_again,
]


def run_on_greenlets() -> None:
    """The functions above, one after the other, in a process whose threads are greenlets."""
    for test in ON_GREENLETS:
        reader, record = Reader(), Record()
        reader.crew.start()
        try:
            test(reader, record)
        finally:
            record.gate.set()
            reader.close()
        print("passed", test.__name__)


def test_the_core_of_this_file_runs_on_greenlets() -> None:
    assert greenlets.run_on_greenlets(__file__) == [f"passed {test.__name__}" for test in ON_GREENLETS]
