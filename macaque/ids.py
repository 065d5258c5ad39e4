"""Client ids: each open connection has one of its own."""

from __future__ import annotations

import secrets

from mqlight.net import forks

__all__ = ["id_of_child", "made_up_id"]


def made_up_id() -> str:
    """Return a random client id."""
    return f"macaque_{secrets.token_hex(6)}"


def id_of_child(chosen: str | None) -> str:
    """Return a client id for a forked child. The parent keeps its own id.

    Args:
        chosen: the id that the application chose for the parent; None if the parent's id is random.
    """
    return made_up_id() if chosen is None else forks.child_id(chosen)
