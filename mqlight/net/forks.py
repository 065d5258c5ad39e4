"""Keep a forked child from sharing its parent's sockets, threads, and locks that another thread may hold.

`multiprocessing`, `gunicorn --preload` and `os.fork` copy the memory of a process, but only the thread that forks. An
object that owns a socket or threads registers itself here. Its ``after_fork`` runs in the child before any other code.
"""

from __future__ import annotations

import itertools
import os
import secrets
import threading
import weakref
from typing import Protocol

__all__ = ["child_id", "register", "stay_out"]

MOST_KEPT = 240
"""The most characters of a chosen client id that a child keeps. The rest is room for the child's own ending."""


class Owner(Protocol):
    """An owner of sockets, threads or locks that a child must not use."""

    def after_fork(self) -> None:
        """Let go of the parent's things in the child, without sending to a peer or taking a lock."""


_owners: weakref.WeakValueDictionary[int, Owner] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def child_id(chosen: str) -> str:
    """Return the client id of a child whose parent goes on with the id that the application chose."""
    return f"{chosen[:MOST_KEPT]}.{secrets.token_hex(4)}"


def register(owner: Owner) -> None:
    """Have ``owner.after_fork()`` called in every child that is forked while the owner lives."""
    _owners[next(_numbers)] = owner


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
    for _, owner in sorted(_owners.items(), reverse=True):  # an owner registers after the owners that it uses
        owner.after_fork()


os.register_at_fork(after_in_child=_after_fork)
