"""Logins: who is asked for what, and the check of a password where it holds up nobody else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import gevent
from gevent.threadpool import ThreadPool

from mqlight.server.access import Failures, refusal
from mqlight.server.limits import Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.sasl import Identity, Verdict
from mqlight.server.users import UsersError, UsersFile

if TYPE_CHECKING:
    from mqlight.server.listener import Wire

log = logging.getLogger(__name__)

CHECKERS = 2
"""Passwords that are looked at at the same time; each takes a thread and 16 MiB."""


class Door:
    """Who may come in, by the users file if there is one."""

    def __init__(self, users: UsersFile | None, allow_anonymous: bool, limits: Limits) -> None:
        self._file = users
        self._allow_anonymous = allow_anonymous
        self._longest = limits.login_time / 2
        self._failures = Failures()
        self._pool = ThreadPool(CHECKERS)

    def check(self, wire: Wire, identity: Identity) -> Verdict:
        """SASL's question. None: the wire's client is told later."""
        visitor = wire.visitor
        why = refusal(
            identity, visitor, users=self._file is not None, allow_anonymous=self._allow_anonymous
        )
        if why is not None:
            return why
        if self._file is None:
            wire.client.user = User(identity.user or visitor.certificate, EVERYTHING)
            return True
        users = self._file.users
        if identity.mechanism == "PLAIN":
            gevent.spawn(self._look, wire, identity)
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

    def _look(self, wire: Wire, identity: Identity) -> None:
        """Check a password on a thread, and keep a wrong one waiting. Runs in a greenlet of its own."""
        failures, host = self._failures, wire.host
        while not failures.begin(host):
            gevent.sleep(0.05)
            if wire.closed:
                return
        try:
            verdict: bool | str = self._pool.apply(self._is_right, (identity,))
            if not verdict:
                pause = min(self._longest, failures.failed(host, time.monotonic()))
                verdict = f"wrong user or password; the answer waits {pause:g} s"
                gevent.sleep(pause)
        except Exception:
            log.exception("%s: a fault of the server refuses this login", wire.client.address)
            verdict = "a fault of the server"
        finally:
            failures.end(host)
        if verdict is True and self._file is not None:
            wire.client.user = self._file.users.user(identity.user)
        wire.client.decide(verdict, time.monotonic())
        wire.flush()
        wire.read_again()

    def _is_right(self, identity: Identity) -> bool:
        """Runs on a thread."""
        assert self._file is not None
        return self._file.users.is_password_of(identity.user or "", identity.password or "")

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
