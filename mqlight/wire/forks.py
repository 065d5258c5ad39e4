"""What a forked child must not share with its parent: sockets, threads, and locks that another thread may hold.

`multiprocessing`, `gunicorn --preload` and `os.fork` copy the memory of a process, but of its threads only the one that
forks. An object that owns a socket or threads registers itself here, and is told in the child, before anything else
runs there.
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
"""Characters of a chosen client id that a child keeps, so that there is room for its own end."""


class Owner(Protocol):
    """Owns what a child must not use."""

    def after_fork(self) -> None:
        """In the child: let go of the parent's, without a word to a peer and without touching a lock."""


_owners: weakref.WeakValueDictionary[int, Owner] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def child_id(chosen: str) -> str:
    """Return the client id of a child whose parent goes on with the id that the application chose."""
    return f"{chosen[:MOST_KEPT]}.{secrets.token_hex(4)}"


def register(owner: Owner) -> None:
    """Have ``owner.after_fork()`` called in every child that is forked while it lives."""
    _owners[next(_numbers)] = owner


_for_ever = threading.Lock()
_survivor: int | None = None
"""In a child: the thread that forked."""


def stay_out() -> None:
    """In the child of a fork: wait for ever, unless this is the thread that forked.

    A fork copies greenlets, and ``threading`` does not know them any more: their end would be an error.
    """
    if threading.get_ident() != _survivor:
        _for_ever.acquire(blocking=False)
        _for_ever.acquire()


def _after_fork() -> None:
    global _survivor
    _survivor = threading.get_ident()
    for _, owner in sorted(_owners.items(), reverse=True):  # one that uses another registers after it
        owner.after_fork()


os.register_at_fork(after_in_child=_after_fork)
