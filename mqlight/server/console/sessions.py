"""The readers of pages: sessions of users who logged in, and the rights of each."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from mqlight.amqp.topics import matches
from mqlight.server.permissions import EVERYTHING, Permissions
from mqlight.server.users import PasswordRecord, UsersFile

COOKIE = "mqlight-console"
"""The name of the cookie, before the port: a browser sends cookies to every port of a host."""
LIFE = 12 * 3600.0
"""Seconds without a request after which a session ends."""
MOST = 1000
_MOST_TOPICS = 5000


@dataclass
class Reader:
    """The reader of a page. A request that changes something must carry ``token``."""

    name: str | None
    admin: bool
    hidden: bool
    permissions: Permissions = EVERYTHING
    token: str = field(default_factory=secrets.token_urlsafe, repr=False)
    password: PasswordRecord | None = field(default=None, repr=False)
    used_at: float = 0.0
    _seen: dict[str, bool] = field(default_factory=dict, repr=False)

    def sees(self, topic: str) -> bool:
        """Return whether the bodies of messages to a topic may be shown."""
        return not self.hidden and self.knows(topic)

    def knows(self, topic: str) -> bool:
        """Return whether the reader may subscribe to a topic."""
        if self.permissions is EVERYTHING:
            return True
        known = self._seen.get(topic)
        if known is None:
            if len(self._seen) >= _MOST_TOPICS:
                self._seen.clear()
            known = self._seen[topic] = any(matches(pattern, topic) for pattern in self.permissions.subscribe)
        return known


class Sessions:
    """The logged-in readers, by their cookies. Without a users file all requests have one shared reader."""

    def __init__(
        self, file: UsersFile | None, *, admin: bool, hidden: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = file
        self._admin = admin
        self._hidden = hidden
        self._clock = clock
        self._everybody = Reader(None, admin, hidden)
        self._readers: OrderedDict[str, Reader] = OrderedDict()

    @property
    def needed(self) -> bool:
        """Whether readers have to log in."""
        return self._file is not None

    def of(self, cookie: str | None) -> Reader | None:
        """Return the reader of a cookie; None if the reader has to log in."""
        if self._file is None:
            return self._everybody
        reader, now, users = self._readers.get(cookie or ""), self._clock(), self._file.users
        if reader is None or cookie is None:
            return None
        name = reader.name or ""
        if now - reader.used_at > LIFE or users.password_of(name) != reader.password:
            del self._readers[cookie]
            return None
        permissions = users.user(name).permissions.of_client("")
        if permissions != reader.permissions:
            reader.permissions = permissions
            reader._seen.clear()
        reader.admin = self._admin or users.is_admin(name)
        reader.used_at = now
        self._readers.move_to_end(cookie)
        return reader

    def begin(self, name: str) -> str:
        """Begin a session of a user whose password was right. Return the session's cookie."""
        assert self._file is not None
        cookie = secrets.token_urlsafe(32)
        reader = Reader(name, False, self._hidden, Permissions(), password=self._file.users.password_of(name))
        reader.used_at = self._clock()
        self._readers[cookie] = reader
        if len(self._readers) > MOST:
            self._readers.popitem(last=False)
        return cookie

    def end(self, cookie: str | None) -> None:
        """End a session. An unknown cookie is ignored."""
        self._readers.pop(cookie or "", None)
