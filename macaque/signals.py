"""SIGINT and SIGTERM: the first one asks a process to stop, the second one ends it.

Python runs a signal's handler in the main thread, once that thread returns from its wait. If the system gives the
signal to another thread, as happens under load, the main thread goes on waiting. So a separate thread takes the numbers
of the signals from Python's wake-up descriptor.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mqlight.net import forks

__all__ = ["asked_to_leave"]

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_to_leave(leave: Callable[[], object]) -> Iterator[None]:
    """Call `leave()` at the first signal, and end the process at the second, with status 128 plus the signal's number.

    Outside of the main thread this does nothing. At the end of the block, handlers and descriptor are restored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)  # Python requires it
    watching = threading.Thread(target=_watch, args=(reading, leave), name="macaque-signals", daemon=True)
    watching.start()
    asked = _Asked(signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False))
    try:
        yield
    finally:
        asked.restore()
        writing.close()
        watching.join()
        reading.close()


class _Asked:
    """The earlier signal handlers and wake-up descriptor.

    The child of a fork inherits them: without this, a signal to the child would ask the parent to stop.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._handlers = [signal.signal(number, _nothing) for number in ENDING]
        forks.register(self, _Asked.restore)

    def restore(self) -> None:
        for number, handler in zip(ENDING, self._handlers, strict=True):
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._descriptor)


_forking = threading.local()


def _hold_back() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


# A signal to a new child waits until the child's own handlers are set. The hooks of `forks` run before these.
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
    """Do nothing. Without a handler Python would end the process itself."""
