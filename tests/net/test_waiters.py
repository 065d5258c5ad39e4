"""Waiters: a thread that waits reads itself when the reading thread stands by, and never do two threads read.

The core of this file runs again on greenlets, in a process of its own: see the end.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

import greenlets
from mqlight.net import interrupts, waiters
from mqlight.net.crew import Crew, Lane
from mqlight.net.tcp import BRIEF
from mqlight.net.waiters import ROW, STAND_BY, Waiters
from processes import wait_until

BOUND = 30.0


class Connection:
    """A crew and its waiters. To read is to take a function from :attr:`input` and to call it.

    The peer puts each function of :attr:`requests` there, a moment later.
    """

    def __init__(self) -> None:
        self.input: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self.requests: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self.readers: list[int] = []
        """The threads that read, one for each function."""
        self.faults: list[str] = []
        self._reading = threading.Lock()
        self.crew = Crew("test", self._read, daemon=True, on_exit=lambda error: None)
        self.waiters = Waiters(self.crew, self._read_briefly, lose=self.faults.append)
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while (request := self.requests.get()) is not None:
            self.input.put(request)

    def _read(self, epoch: int) -> None:
        crew = self.crew
        while crew.keeps_reading(epoch):
            if crew.ready:
                self.waiters.row = 0
                if not crew.run_ready(epoch):
                    return
            elif self.waiters.waiting and self.waiters.stand_by(epoch):
                continue
            self._read_once(BOUND)

    def _read_briefly(self, epoch: int) -> bool:
        return self._read_once(BRIEF)

    def _read_once(self, timeout: float) -> bool:
        if not self._reading.acquire(blocking=False):
            self.faults.append("two threads read")
            return False
        try:
            function = self.input.get(timeout=timeout)
            self.readers.append(threading.get_ident())
            if function is not None:
                function()
            return True
        except queue.Empty:
            return False
        finally:
            self._reading.release()

    def call(self, seconds: float = BOUND) -> int:
        """Wait for a reply. Return the thread that read it."""
        lock = locked()
        self.requests.put(lock.release)
        assert self.waiters.wait(lock, seconds)
        return self.readers[-1]

    def stand_by(self) -> None:
        """Call until the reading thread stands by."""
        for _ in range(100 * ROW):
            if self.call() == threading.get_ident():
                return
        raise AssertionError("the reading thread still reads")

    def close(self) -> None:
        self.crew.stop()
        self.input.put(None)
        self.requests.put(None)
        assert self.faults == []


def locked() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@pytest.fixture(autouse=True)
def no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main thread reads in spite of the handler that ends a test which takes too long."""
    monkeypatch.setattr(interrupts, "OTHERS", ())


@pytest.fixture
def connection() -> Iterator[Connection]:
    connection = Connection()
    connection.crew.start()
    yield connection
    connection.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading thread stands by until it is recalled."""
    monkeypatch.setattr(waiters, "STAND_BY", BOUND)


def test_a_thread_reads_itself_after_replies_in_a_row_for_which_it_waited_alone(
    connection: Connection, patient: None
) -> None:
    me = threading.get_ident()
    readers = [connection.call() for _ in range(3 * ROW)]
    assert me not in readers[:ROW]
    assert readers[-ROW:] == [me] * ROW


def test_a_wait_for_what_has_come_already_reads_nothing(connection: Connection, patient: None) -> None:
    connection.stand_by()
    before = len(connection.readers)
    assert connection.waiters.wait(threading.Lock(), BOUND)
    assert len(connection.readers) == before


def test_the_reading_thread_reads_again_soon_after_the_last_wait(connection: Connection) -> None:
    connection.stand_by()
    read = threading.Event()
    connection.input.put(read.set)
    assert read.wait(BOUND)
    assert connection.readers[-1] != threading.get_ident()


def test_the_reading_thread_reads_at_once_when_it_is_recalled(connection: Connection, patient: None) -> None:
    connection.stand_by()
    read = threading.Event()
    connection.input.put(read.set)
    connection.waiters.recall()
    assert read.wait(BOUND)


def test_a_thread_that_reads_leaves_the_role_to_a_recalled_reading_thread(
    connection: Connection, patient: None
) -> None:
    connection.stand_by()
    lock, read = locked(), threading.Event()
    connection.input.put(connection.waiters.recall)
    connection.input.put(lock.release)
    connection.input.put(read.set)
    assert connection.waiters.wait(lock, BOUND)
    assert read.wait(BOUND)
    assert connection.readers[-3] == threading.get_ident() != connection.readers[-1]


def test_functions_of_lanes_do_not_run_in_a_thread_that_waits(connection: Connection, patient: None) -> None:
    connection.stand_by()
    lane, lock = Lane(connection.crew, 1), locked()
    threads: queue.Queue[int] = queue.Queue()
    connection.input.put(lambda: lane.submit(lambda: threads.put(threading.get_ident())))
    connection.input.put(lock.release)
    assert connection.waiters.wait(lock, BOUND)
    assert threads.get(timeout=BOUND) != threading.get_ident()
    assert connection.readers[-2] == threading.get_ident() != connection.readers[-1]


def test_a_wait_without_a_reply_ends_in_time_and_reading_goes_on(connection: Connection, patient: None) -> None:
    connection.stand_by()
    lock, began = locked(), monotonic()
    assert not connection.waiters.wait(lock, 3 * BRIEF)
    assert monotonic() - began >= 3 * BRIEF
    connection.input.put(lock.release)
    assert lock.acquire(timeout=BOUND)
    assert not connection.waiters.waiting


def test_other_replies_do_not_lengthen_a_wait(connection: Connection, patient: None) -> None:
    connection.stand_by()
    again = True

    def other() -> None:
        if again:
            connection.input.put(other)

    connection.input.put(other)
    began = monotonic()
    assert not connection.waiters.wait(locked(), 3 * BRIEF)
    again = False
    assert 3 * BRIEF <= monotonic() - began < BOUND


def test_a_wait_that_is_too_short_to_read_recalls_the_reading_thread(connection: Connection, patient: None) -> None:
    connection.stand_by()
    lock = locked()
    assert not connection.waiters.wait(lock, 0.0)
    connection.input.put(lock.release)
    assert lock.acquire(timeout=BOUND)


def test_an_interrupt_leaves_the_role(connection: Connection, patient: None) -> None:
    connection.stand_by()

    def interrupt() -> None:
        raise KeyboardInterrupt

    lock = locked()
    connection.input.put(interrupt)
    with pytest.raises(KeyboardInterrupt):
        connection.waiters.wait(lock, BOUND)
    connection.input.put(lock.release)
    assert lock.acquire(timeout=BOUND)


def test_a_second_thread_that_waits_gets_its_reply_from_the_first_or_from_the_reading_thread(
    connection: Connection, patient: None
) -> None:
    connection.stand_by()
    first, second, third = locked(), locked(), locked()
    done: list[bool] = []
    others = [
        threading.Thread(target=lambda lock=lock: done.append(connection.waiters.wait(lock, BOUND)))
        for lock in (second, third)
    ]

    def begin() -> None:
        for other in others:
            other.start()
        wait_until(lambda: len(connection.waiters.waiting) == 2)

    for function in (begin, second.release, first.release, third.release):
        connection.input.put(function)
    assert connection.waiters.wait(first, BOUND)
    for other in others:
        other.join(BOUND)
    assert done == [True, True]


def test_a_crew_that_is_stopped_while_its_reading_thread_stands_by_may_be_started_again(
    connection: Connection,
) -> None:
    for _ in range(3):
        connection.stand_by()
        connection.crew.stop()
        lock = locked()
        assert not connection.waiters.wait(lock, 2 * BRIEF)
        connection.crew.start()
        connection.input.put(lock.release)
        assert lock.acquire(timeout=BOUND)


def test_a_stop_while_a_waiting_thread_reads_ends_its_reading(connection: Connection, patient: None) -> None:
    connection.stand_by()
    lock, read = locked(), threading.Event()

    def stop() -> None:
        connection.crew.stop()
        lock.release()

    connection.input.put(stop)
    assert connection.waiters.wait(lock, BOUND)
    connection.crew.start()
    connection.input.put(read.set)
    assert read.wait(BOUND)


@pytest.mark.parametrize("threads", [2, 8])
def test_never_do_two_threads_read_and_every_wait_ends(connection: Connection, threads: int) -> None:
    failed: list[object] = []
    until = monotonic() + 2.0

    def call(seed: int) -> None:
        chance = random.Random(seed)
        try:
            while monotonic() < until:
                lock = locked()
                connection.requests.put(lock.release)
                if chance.random() < 0.05:
                    connection.waiters.recall()
                if chance.random() < 0.05:
                    lock.acquire(timeout=chance.choice((STAND_BY / 2, 2 * STAND_BY)))
                elif not connection.waiters.wait(lock, chance.choice((BOUND, BOUND, 1.0))):
                    failed.append("no reply")
        except BaseException as error:
            failed.append(error)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(BOUND)
    assert failed == []
    assert not connection.waiters.waiting


# The core again, on greenlets

ON_GREENLETS = [
    test_the_reading_thread_reads_again_soon_after_the_last_wait,
    test_a_crew_that_is_stopped_while_its_reading_thread_stands_by_may_be_started_again,
]


def run_on_greenlets() -> None:
    """The functions above, one after the other, in a process whose threads are greenlets."""
    for test in ON_GREENLETS:
        connection = Connection()
        connection.crew.start()
        try:
            test(connection)
        finally:
            connection.close()
        print("passed", test.__name__)


def test_the_core_of_this_file_runs_on_greenlets() -> None:
    assert greenlets.run_on_greenlets(__file__) == [f"passed {test.__name__}" for test in ON_GREENLETS]
