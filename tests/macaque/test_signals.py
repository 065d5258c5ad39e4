from __future__ import annotations

import queue
import signal
import threading

import pytest

from macaque.signals import asked_to_leave
from processes import wait_until


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noticed_though_another_thread_gets_it_while_the_main_thread_waits(number: signal.Signals) -> None:
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    done = threading.Event()
    before = signal.getsignal(number)

    def get_the_signal() -> None:
        wait_until(lambda: signal.getsignal(number) != before)
        signal.pthread_kill(threading.get_ident(), number)
        done.wait(10.0)

    other = threading.Thread(target=get_the_signal)
    other.start()
    try:
        with asked_to_leave(lambda: told.put("leave")):
            assert told.get(timeout=10.0) == "leave"
    finally:
        done.set()
        other.join()


def test_handlers_and_descriptor_are_what_they_were() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with asked_to_leave(lambda: None):
        assert signal.getsignal(signal.SIGTERM) != handlers[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    assert descriptor == -1


def test_outside_of_the_main_thread_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def run() -> None:
        with asked_to_leave(lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
