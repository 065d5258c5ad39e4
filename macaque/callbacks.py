"""The callbacks of one client. They run one at a time, and the process lives until all have run.

A client owes a callback from the moment the call is made until the callback has returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from macaque.arguments import check_callback
from macaque.errors import ConnectionLost
from macaque.keeper import keeper
from macaque.transport import Lane

__all__ = ["Callbacks"]


class Callbacks:
    """The callbacks of one client: see the module. They run in `lane`, which runs one function at a time."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._turn = threading.Lock()
        self.owed: dict[Any, bool] = {}
        """Calls with a callback that has not returned, each with whether its last function was given to `finish`.

        Each access is one dict operation, so it needs no lock.
        """
        self.watched = False
        """Whether the process is kept alive for the callbacks, or need not be."""

    @property
    def owes(self) -> bool:
        """Whether a callback has not returned."""
        return bool(self.owed)

    def check(self, *functions: object) -> None:
        """Check callback functions and keep the process alive for them. None stands for no function.

        Raises:
            TypeError: calling one of the functions would run none of its code.
            ConnectionLost: the thread that keeps the process alive cannot be started.
        """
        for function in functions:
            if function is not None:
                check_callback(function)
        if not self.watched:
            try:
                keeper.watch(self)
            except RuntimeError as error:
                said = f"No thread can be started for the callbacks: {error}"
                raise ConnectionLost(said, reason="no thread") from error
            self.watched = True

    def owe(self, call: object) -> None:
        """Remember that a callback of `call` must run."""
        self.owed[call] = False

    def returned(self, call: object) -> None:
        """Forget a call whose callback has returned, or will not be called."""
        self.owed.pop(call, None)
        if not self.owed:
            keeper.look()

    def finish(self, call: object, function: Callable[..., object], *args: Any) -> None:
        """Run the last function for a call soon: see `run`. It may run twice if this raises, and is given again."""
        self.owed[call] = True
        try:
            self.run(function, *args)
        except BaseException:  # of a signal's handler
            self.owed[call] = False
            raise

    def run(self, function: Callable[..., object], *args: Any) -> None:
        """Run a function soon, after the functions that were given before."""
        if keeper.leaving:
            keeper.run(self._in_turn, function, *args)
        else:
            self._lane.submit(self._in_turn, function, *args)

    def _in_turn(self, function: Callable[..., object], *args: Any) -> None:
        with self._turn:
            function(*args)
