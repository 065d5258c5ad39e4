"""Hold back Ctrl-C while the main thread handles received bytes.

Python runs the handlers of signals in the main thread, between any two instructions. An exception of a handler in the
middle of received bytes would lose replies, also those of other threads.
"""

from __future__ import annotations

import os

# The functions of `signal` make enums of their results. That takes 35 µs a call, and mypy knows no stub of `_signal`.
from _signal import NSIG, SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]
from threading import current_thread, main_thread

__all__ = ["Interrupts"]

OTHERS = tuple(number for number in range(1, NSIG) if number != SIGINT)
"""The signals that cannot be held back. The application may have handlers for them."""


class Interrupts:
    """Holds back KeyboardInterrupt in a ``with`` block, and raises it at the end of the block.

    Only Python's own handler of SIGINT is replaced, as ``asyncio.Runner`` does. Threads other than the main thread are
    never interrupted.
    """

    __slots__ = ("_replaced", "came", "held")

    def __init__(self) -> None:
        self.came = False
        """Whether there was a Ctrl-C in the block."""
        self.held = True
        """Whether nothing interrupts the block. False in the main thread if the application handles a signal itself."""
        self._replaced = False

    def __enter__(self) -> Interrupts:
        if current_thread() is main_thread():
            self.held = not any(map(callable, map(getsignal, OTHERS)))
            handler = getsignal(SIGINT)
            if handler is default_int_handler:
                try:
                    signal(SIGINT, self._note)
                    self._replaced = True
                except ValueError:
                    pass  # a subinterpreter, which gets no signals
            elif callable(handler):
                self.held = False
        return self

    def __exit__(self, *error: object) -> None:
        if self._replaced:
            signal(SIGINT, default_int_handler)
        if self.came:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self.came = True


def _after_fork() -> None:
    """Give Python's own handler back to the child of a fork that another thread made during a block."""
    if isinstance(getattr(getsignal(SIGINT), "__self__", None), Interrupts):
        signal(SIGINT, default_int_handler)


os.register_at_fork(after_in_child=_after_fork)
