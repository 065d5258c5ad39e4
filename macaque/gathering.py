"""Calls that take several replies: one from each share, and from each service without one, on the topic.

The rules of this file:

* Until its first reply a gathering is a pending call like any other, and ends like one. From then on it is kept here,
  takes every reply, and ends with what came: by its deadline, by the number of its replies, or with its client.
* Memory is bounded: when too many are kept, those with the nearest deadline end early.
* Everything but `result` and what it inherits runs where the client ends calls: short, and nothing of the user's.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from macaque.call import Call
from macaque.pending import Added, Pending
from mqlight.wire.log import Log, attempt

if TYPE_CHECKING:
    from macaque.client import Client

__all__ = ["MAX_REPLIES", "Gathering", "Gatherings", "checked_replies"]

log = Log(__name__)

MAX_REPLIES = 1000
KEPT = 32_768
"""Gatherings that have a reply and wait for more. Half of the calls in flight, so that these never fill all places."""


class Gathering(Call):
    """A call whose `result()` is the list of all replies: their data, and a RemoteError for each that was an error."""

    __slots__ = ("most", "replies")

    gathers = True

    def __init__(self, most: int, *args: Any) -> None:
        super().__init__(*args)
        self.most = most
        self.replies: list[Any] = []

    @property
    def tells(self) -> bool:
        """Whether somebody wants to hear of the replies one by one."""
        return self.callback is not None or self.on_error is not None

    def tell(self, data: Any, error: Exception | None) -> None:
        """Run the user's function for one reply."""
        if error is None:
            if self.callback is not None:
                self.callback(data)
        elif self.on_error is not None:
            self.on_error(error)
        else:
            log.error("a service at %r failed: %s", self.topic, error)


class Gatherings:
    """Those of one client that have a reply already."""

    def __init__(self, client: Client, maximum: int = KEPT) -> None:
        self._client = weakref.proxy(client)
        self._kept: Pending[Gathering] = Pending(threading.Lock(), maximum)

    def pop(self, uuid: str) -> Gathering | None:
        """Take out the one that a further reply is for."""
        return self._kept.pop(uuid)

    def add(self, gathering: Gathering, data: Any, error: Exception | None) -> None:
        """A reply to a gathering that was taken out, here or of the pending calls."""
        if not gathering.replies and self._client._metrics is not None:
            # To those who measure, a call takes until its first reply.
            attempt(log, self._client._metrics.ended, gathering, error)
        gathering.replies.append(data if error is None else error)
        if gathering.tells:
            self._client._run(gathering.tell, data, error)
        if len(gathering.replies) >= gathering.most:
            self._end(gathering)
            return
        while self._kept.add(gathering) is Added.FULL:
            self.expire(self._kept.next_deadline() or 0.0)

    def expire(self, now: float) -> float | None:
        """End those whose deadline has passed; say when there is something to do again."""
        for gathering in self._kept.expire(now):
            self._end(gathering)
        return self._kept.next_deadline()

    def clear(self) -> None:
        """The client is over, and with it all of them."""
        for gathering in self._kept.clear():
            self._end(gathering)

    def __len__(self) -> int:
        return len(self._kept)

    def end(self, call: Call) -> None:
        """End one whose deadline has passed, if it is here."""
        if (gathering := self._kept.pop(call.uuid)) is not None:
            self._end(gathering)

    def abandon(self) -> list[Gathering]:
        """Return all of them, in the child of a fork: this is not used again."""
        return self._kept.abandon()

    def _end(self, gathering: Gathering) -> None:
        gathering._end(gathering.replies, None)
        if gathering.tells:
            self._client._run(self._client._done_with, gathering)


def checked_replies(replies: object) -> int:
    """How many replies a gathering takes at most. Raises TypeError or ValueError for what that cannot be."""
    if isinstance(replies, bool) or not isinstance(replies, int):
        raise TypeError(f"The number of replies {replies!r} is not an int.")
    if not 1 <= replies <= MAX_REPLIES:
        raise ValueError(f"The number of replies {replies} is not between 1 and {MAX_REPLIES}.")
    return replies
