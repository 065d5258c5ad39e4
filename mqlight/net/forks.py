"""Keep a forked child from sharing its parent's sockets, threads, and locks that another thread may hold.

`multiprocessing`, `gunicorn --preload` and `os.fork` copy the memory of a process, but only the thread that forks. An
object that owns a socket or threads registers a function here, which runs in the child before any other code.
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["child_id", "register", "stay_out"]

MOST_KEPT = 240
"""The most characters of a chosen client id that a child keeps. The rest is room for the child's own ending."""

Owner = TypeVar("Owner")
_functions: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def child_id(chosen: str) -> str:
    """Return the client id of a child whose parent goes on with the id that the application chose."""
    return f"{chosen[:MOST_KEPT]}.{secrets.token_hex(4)}"


def register(owner: Owner, function: Callable[[Owner], None]) -> None:
    """Have ``function(owner)`` called in every child that is forked while the owner lives.

    Args:
        function: makes the owner leave the parent's sockets, threads and locks. It sends nothing, and takes no lock.
    """
    _functions[owner] = function


_for_ever = threading.Lock()
_survivor: int | None = None
"""The thread that forked, in a child."""


def stay_out() -> None:
    """Wait for ever in the child of a fork, unless the calling thread is the one that forked.

    A fork copies greenlets, and ``threading`` does not know the copies. Their end would be an error.
    """
    if threading.get_ident() != _survivor:
        _for_ever.acquire(blocking=False)
        _for_ever.acquire()


def _after_fork() -> None:
    global _survivor
    _survivor = threading.get_ident()
    for owner, function in reversed(list(_functions.items())):  # an owner registers after the owners that it uses
        function(owner)


os.register_at_fork(after_in_child=_after_fork)
