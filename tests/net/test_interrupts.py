from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from mqlight.net import interrupts
from mqlight.net.interrupts import OTHERS, Interrupts


@pytest.fixture(autouse=True)
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python's own handler of Ctrl-C, and no other handler than the alarm of the tests."""
    monkeypatch.setattr(interrupts, "OTHERS", tuple(number for number in OTHERS if number != signal.SIGALRM))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_raised_at_the_end_of_the_block() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), Interrupts() as block:
        assert block.held and not block.came
        signal.raise_signal(signal.SIGINT)
        reached.append(block.came)
    assert reached == [True]


def test_after_the_block_interrupts_are_raised_at_once() -> None:
    with Interrupts():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_error_of_the_block_is_raised() -> None:
    with pytest.raises(OSError, match="broken"), Interrupts():
        raise OSError("broken")


def test_a_handler_of_the_application_stays_and_the_block_is_told() -> None:
    came = []
    signal.signal(signal.SIGINT, lambda *_: came.append(1))
    try:
        with Interrupts() as block:
            assert not block.held
            signal.raise_signal(signal.SIGINT)
            assert came == [1]
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_handler_of_another_signal_could_interrupt_the_block() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with Interrupts() as block:
            assert not block.held
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as block:
            assert block.held
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_another_thread_has_nothing_to_hold_back() -> None:
    held = []

    def block() -> None:
        with Interrupts() as block:
            held.append(block.held)
            held.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join(10)
    assert held == [True, True]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_another_thread_forks_during_a_block_can_be_interrupted() -> None:
    ends: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0 if signal.getsignal(signal.SIGINT) is signal.default_int_handler else 1)
        ends.append(os.waitpid(child, 0)[1])

    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join(10)
    assert ends == [0]
