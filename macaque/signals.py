"""SIGINT and SIGTERM: the first one asks a process to leave, the second one ends it.

Python runs a signal's handler in the main thread, once that comes back from what it waits for, and nothing wakes it
when the system gave the signal to another thread, which happens under load. So a thread of its own takes the numbers of
the signals from Python's wake-up descriptor.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mqlight.wire import forks

__all__ = ["asked_to_leave"]

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_to_leave(leave: Callable[[], object]) -> Iterator[None]:
    """Have `leave()` called at the first signal, and the process ended at the second, with status 128 and its number.

    Nothing of that happens outside of the main thread. Afterwards handlers and descriptor are what they were.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)  # as Python wants it
    watching = threading.Thread(target=_watch, args=(reading, leave), name="macaque-signals", daemon=True)
    watching.start()
    asked = _Asked(signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False))
    try:
        yield
    finally:
        asked.after_fork()
        writing.close()
        watching.join()
        reading.close()


class _Asked:
    """The handlers and the descriptor, which are what they were after `after_fork`.

    The child of a fork inherits them: a signal to the child would ask the parent to leave.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._handlers = [signal.signal(number, _nothing) for number in ENDING]
        forks.register(self)

    def after_fork(self) -> None:
        for number, handler in zip(ENDING, self._handlers, strict=True):
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._descriptor)


_forking = threading.local()


def _hold_back() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


# A signal for a new child waits until the child's handlers are its own. The hooks of `forks` run before these.
os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_let_through)


def _watch(reading: socket.socket, leave: Callable[[], object]) -> None:
    leaving = False
    while numbers := reading.recv(64):
        for number in numbers:
            if number in ENDING:
                if leaving:
                    os._exit(128 + number)
                leaving = True
                leave()


def _nothing(number: int, frame: object) -> None:
    """A handler, without which Python would end the process itself."""
