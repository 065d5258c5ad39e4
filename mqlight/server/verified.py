"""Passwords that were right a while ago, so that clients that come back do not wait for scrypt again.

It is pure: ``now`` is seconds on a clock that never goes back, and the key is random and comes from outside.

A password itself is never kept. Each entry is an HMAC of the user, of the user's record in the users file and of the
password, under a key that only this process knows. An entry therefore says nothing without the key, and holds no more
as soon as the record changes: the new record makes another HMAC.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqlight.server.users import Kept

LONGEST = 24 * 3600.0
"""Seconds that a password is remembered after its last login."""
MOST = 10_000
"""Passwords that are remembered: those that were used last."""


class Verified:
    """The passwords that were verified, each with the time until which that holds."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, user: str, record: Kept, password: str, now: float) -> None:
        """Remember that a password is right."""
        self._keep(self._digest(user, record, password), now)

    def has(self, user: str, record: Kept, password: str, now: float) -> bool:
        """Whether a password is known to be right; if it is, it is remembered for the whole time again."""
        digest = self._digest(user, record, password)
        until = self._until.get(digest)
        if until is None or until <= now:
            return False
        self._keep(digest, now)
        return True

    def _keep(self, digest: bytes, now: float) -> None:
        self._until[digest] = now + LONGEST
        self._until.move_to_end(digest)
        if len(self._until) > MOST:
            self._until.popitem(last=False)

    def _digest(self, user: str, record: Kept, password: str) -> bytes:
        parts = [text.encode("utf-8", "surrogatepass") for text in (user, repr(tuple(record)), password)]
        return hmac.digest(self._key, b"".join(len(part).to_bytes(4, "big") + part for part in parts), "sha256")
