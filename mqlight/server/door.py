"""Logins: who is asked for what, and the check of a password where it holds up nobody else."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import gevent
from gevent.threadpool import ThreadPool

from mqlight.amqp.types import Condition
from mqlight.server.access import Failures, Networks, refusal
from mqlight.server.limits import Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.sasl import Identity, Verdict
from mqlight.server.users import Kept, UsersError, UsersFile
from mqlight.server.verified import Verified

if TYPE_CHECKING:
    from mqlight.server.listener import Wire

log = logging.getLogger(__name__)

CHECKERS = min(8, max(2, os.cpu_count() or 2))
"""Passwords that are checked at the same time; each takes a thread and 16 MiB."""


class Door:
    """Who may come in, by the users file if there is one."""

    def __init__(self, users: UsersFile | None, allow_anonymous: bool, networks: Networks, limits: Limits) -> None:
        self._file = users
        self._allow_anonymous = allow_anonymous
        self._networks = networks
        self._longest = limits.login_time / 2
        self._failures = Failures()
        self._verified = Verified(secrets.token_bytes(32))
        self._pool = ThreadPool(CHECKERS)
        self._took = 0.05
        """Seconds that the last check of a password took."""

    def check(self, wire: Wire, identity: Identity) -> Verdict:
        """SASL's question. None: the wire's client is told later."""
        visitor = wire.visitor
        why = refusal(
            identity,
            visitor,
            users=self._file is not None,
            allow_anonymous=self._allow_anonymous,
            networks=self._networks,
        )
        if why is not None:
            return why
        if self._file is None:
            wire.client.user = User(identity.user or visitor.certificate, EVERYTHING)
            return True
        users = self._file.users
        if identity.mechanism == "PLAIN":
            gevent.spawn(self._look, wire, self._file, identity.user or "", identity.password or "")
            return None
        if visitor.certificate is None:
            wire.client.user = users.user(None)
        elif users.has_certificate(visitor.certificate):
            # Also for ANONYMOUS: MQ Light's clients know no EXTERNAL.
            wire.client.user = users.user(visitor.certificate)
        else:
            return (
                f'there is no line "{visitor.certificate} certificate" in the users file for the client\'s certificate'
            )
        return True

    def _look(self, wire: Wire, file: UsersFile, user: str, password: str) -> None:
        """Check a password, and keep a wrong one waiting. Runs in a greenlet of its own."""
        client = wire.client
        try:
            verdict: bool | str | None = None
            while verdict is None:
                if wire.closed:
                    return
                verdict = self._verdict(wire.host, file, user, password)
        except Exception:
            log.exception("%s: a fault of the server ends this login", client.address)
            client.close(Condition("amqp:internal-error", "a fault of the server"), time.monotonic())
        else:
            if verdict is True:
                client.user = file.users.user(user)
            client.decide(verdict, time.monotonic())
        wire.flush()
        wire.read_again()

    def _verdict(self, host: str, file: UsersFile, user: str, password: str) -> bool | str | None:
        """None: nothing is decided, ask again. Nothing waits between a True and the return."""
        users, failures, began = file.users, self._failures, time.monotonic()
        record = users.password_of(user)
        if record is not None and self._verified.has(user, record, password, began):
            return True
        if not failures.begin(host, user):
            gevent.sleep(0.05)
            return None
        try:
            if not self._is_right(record, password):
                pause = failures.failed(host, user, time.monotonic(), known=record is not None)
                pause = min(self._longest, pause)
                gevent.sleep(max(0.0, began + pause - time.monotonic()))
                return f"wrong user or password; the answer waits {pause:g} s"
            if record is None or not users.same(file.users, user):
                return None  # the users file says something else of the user now
            self._verified.add(user, record, password, time.monotonic())
            return True
        finally:
            failures.end(host, user)

    def _is_right(self, record: Kept | None, password: str) -> bool:
        """Check a password on a thread. Without a record it takes the same time, and no work: made-up users keep out no
        real ones.
        """
        if record is None:
            self._pool.apply(time.monotonic)  # behind all that wait for a thread
            gevent.sleep(self._took)
            return False
        right, self._took = self._pool.apply(_timed, (record, password))
        return bool(right)

    def changed(self) -> Callable[[str | None], bool]:
        """Look at the users file again; returns a function that says of which user it says something else now."""
        before = None
        try:
            before = self._file.refresh() if self._file is not None else None
        except UsersError as error:
            log.error("%s; what it said before still holds", error)
        if before is None or self._file is None:
            return lambda name: False
        old, new = before, self._file.users
        log.warning("the users file %s has changed", self._file.path)
        return lambda name: not old.same(new, name)


def _timed(record: Kept, password: str) -> tuple[bool, float]:
    began = time.monotonic()
    return record.is_made_of(password), time.monotonic() - began
