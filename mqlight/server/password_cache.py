"""A cache of recently verified passwords, so that clients which reconnect do not wait for scrypt again.

Pure: ``now`` is seconds on a monotonic clock, and the caller passes the random key.

The cache never keeps a password. Each entry is an HMAC of the user, the user's record in the users file and the
password, under a key that only this process knows. Without the key an entry reveals nothing. When the record changes,
the entry no longer matches, because the new record makes another HMAC.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqlight.server.users import PasswordRecord

LONGEST = 24 * 3600.0
"""Seconds that a password is remembered after its last login."""
MOST = 10_000
"""The most passwords that are remembered: those that were used last."""


class PasswordCache:
    """The verified passwords, each with the time at which it is forgotten."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, user: str, record: PasswordRecord, password: str, now: float) -> None:
        """Remember that a password is right."""
        self._keep(self._digest(user, record, password), now)

    def has(self, user: str, record: PasswordRecord, password: str, now: float) -> bool:
        """Return whether a password is known to be right. If it is, remember it for the whole time again."""
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

    def _digest(self, user: str, record: PasswordRecord, password: str) -> bytes:
        parts = [text.encode("utf-8", "surrogatepass") for text in (user, repr(tuple(record)), password)]
        return hmac.digest(self._key, b"".join(len(part).to_bytes(4, "big") + part for part in parts), "sha256")
