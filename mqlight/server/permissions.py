"""The topics that a user may send to and subscribe to: topic patterns, and whether they cover a request.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mqlight.amqp.covering import covers
from mqlight.amqp.topics import is_wild, matches
from mqlight.amqp.types import Condition

CLIENT = "{client}"


@dataclass(frozen=True)
class Permissions:
    """The topic patterns that a user may send and subscribe to. All else is forbidden."""

    send: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def may_send(self, topic: str) -> bool:
        return any(matches(pattern, topic) for pattern in self.send)

    def may_subscribe(self, pattern: str) -> bool:
        """Return whether every topic that ``pattern`` can match is allowed."""
        return covers(self.subscribe, pattern)

    def of_client(self, client_id: str) -> Permissions:
        """Return these permissions with ``{client}`` replaced by one client's id."""
        if not any(CLIENT in pattern for pattern in self.send + self.subscribe):
            return self
        if not client_id or is_wild(client_id):  # the client chooses its id, which must not open more than one topic
            return Permissions(*(tuple(p for p in each if CLIENT not in p) for each in (self.send, self.subscribe)))
        return Permissions(*(tuple(p.replace(CLIENT, client_id) for p in each) for each in (self.send, self.subscribe)))


EVERYTHING = Permissions(("#",), ("#",))


class User(NamedTuple):
    """The user of a client: a name (None for an anonymous client) and its permissions."""

    name: str | None
    permissions: Permissions

    def __str__(self) -> str:
        return "an anonymous client" if self.name is None else f"the user {self.name!r}"

    def refusal(self, verb: str, topic: str) -> Condition:
        """Return the error for a forbidden topic. MQ Light clients recognise it by the 2035 (MQ Light contract, 8)."""
        doing = "send to" if verb == "send" else "subscribe to"
        return Condition(
            "amqp:not-allowed",
            f"not authorized: 2035 {self} may not {doing} {topic!r}; "
            f'a line "{self.name or "anonymous"} {verb} PATTERN" in the users file would allow it',
        )
