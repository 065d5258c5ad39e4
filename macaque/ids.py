"""Client ids: each connection has one that no other has at the time."""

from __future__ import annotations

import secrets

from mqlight.wire import forks

__all__ = ["id_of_child", "made_up_id"]


def made_up_id() -> str:
    """Return a client id that nobody can guess."""
    return f"macaque_{secrets.token_hex(6)}"


def id_of_child(chosen: str | None) -> str:
    """Return the client id of a forked child, whose parent goes on with its own.

    Args:
        chosen: what the application chose for the parent, None where the parent's was made up.
    """
    return made_up_id() if chosen is None else forks.child_id(chosen)
