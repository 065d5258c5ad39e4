"""Logins: which credentials a client needs, and the check of passwords on threads, so that other clients go on."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable
from typing import Protocol

import gevent
from gevent.threadpool import ThreadPool

from mqlight.server.access import Networks, Visitor, refusal
from mqlight.server.limits import Limits
from mqlight.server.password_cache import PasswordCache
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.sasl import Identity
from mqlight.server.throttle import Throttle
from mqlight.server.users import PasswordRecord, UsersError, UsersFile

log = logging.getLogger(__name__)

CHECKERS = min(8, max(2, os.cpu_count() or 2))
"""The number of passwords that are checked at the same time. Each check takes a thread and 16 MiB."""


class Login(Protocol):
    """The socket of a client that logs in."""

    @property
    def closed(self) -> bool:
        """Whether the client is gone."""

    @property
    def visitor(self) -> Visitor:
        """The client's address and certificate."""

    def decided(self, answer: User | str | None) -> None:
        """Take the user, or the reason why the login is refused; None after a fault of the server."""


class Logins:
    """The check of logins, against the users file if there is one."""

    def __init__(self, users: UsersFile | None, allow_anonymous: bool, networks: Networks, limits: Limits) -> None:
        self._file = users
        self._allow_anonymous = allow_anonymous
        self._networks = networks
        self._longest = limits.login_time / 2
        self._throttle = Throttle()
        self._verified = PasswordCache(secrets.token_bytes(32))
        self._pool = ThreadPool(CHECKERS)
        self._took = 0.05
        """Seconds that the last check of a password took."""

    def check(self, login: Login, identity: Identity) -> User | str | None:
        """Check the credentials of a client.

        Returns:
            The user, or the reason why the login is refused. None if the answer comes by ``login.decided``.
        """
        visitor = login.visitor
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
            return User(identity.user or visitor.certificate, EVERYTHING)
        users = self._file.users
        if identity.mechanism == "PLAIN":
            gevent.spawn(self._look, login, self._file, identity.user or "", identity.password or "")
            return None
        # A certificate also counts with ANONYMOUS: MQ Light's clients do not support EXTERNAL.
        if visitor.certificate is None or users.has_certificate(visitor.certificate):
            return users.user(visitor.certificate)
        return f'there is no line "{visitor.certificate} certificate" in the users file for the client\'s certificate'

    def log_in(self, host: str, name: str, password: str) -> User | str:
        """Return the user of a password, or the reason for a refusal. Wait as long as a client's login would."""
        file = self._file
        if file is None:
            return User(name, EVERYTHING)
        answer: User | str | None = None
        while answer is None:
            answer = self._answer(host, file, name, password)
        return answer

    def _look(self, login: Login, file: UsersFile, user: str, password: str) -> None:
        """Check a password, and delay the answer to a wrong one. Runs in a greenlet of its own."""
        host = login.visitor.address
        answer: User | str | None = None
        try:
            while answer is None:
                if login.closed:
                    return
                answer = self._answer(host, file, user, password)
        except Exception:
            log.exception("%s: a fault of the server ends this login", host)
        login.decided(answer)

    def _answer(self, host: str, file: UsersFile, user: str, password: str) -> User | str | None:
        """Return the user or the reason for a refusal; None means that the caller must ask again.

        This function does not wait between the last look at the users file and the return of a user.
        """
        users, throttle, began = file.users, self._throttle, time.monotonic()
        record = users.password_of(user)
        if record is not None and self._verified.has(user, record, password, began):
            return users.user(user)
        if not throttle.begin(host, user):
            gevent.sleep(0.05)
            return None
        try:
            if not self._is_right(record, password):
                pause = throttle.failed(host, user, time.monotonic(), known=record is not None)
                pause = min(self._longest, pause)
                gevent.sleep(max(0.0, began + pause - time.monotonic()))
                return f"wrong user or password; the answer waits {pause:g} s"
            if record is None or not users.same(file.users, user):
                return None  # the users file has changed for this user meanwhile
            self._verified.add(user, record, password, time.monotonic())
            return file.users.user(user)
        finally:
            throttle.end(host, user)

    def _is_right(self, record: PasswordRecord | None, password: str) -> bool:
        """Return whether a password is right. The check runs on a thread.

        Without a record the answer takes the same time but no work, so that unknown users do not delay known ones.
        """
        if record is None:
            self._pool.apply(time.monotonic)  # waits for a free thread as a real check does
            gevent.sleep(self._took)
            return False
        right, self._took = self._pool.apply(_timed, (record, password))
        return bool(right)

    def changed(self) -> Callable[[str | None], bool]:
        """Read the users file again if it has changed.

        Returns:
            A function that takes a user's name and returns whether the file has changed for that user.
        """
        before = None
        try:
            before = self._file.refresh() if self._file is not None else None
        except UsersError as error:
            log.error("%s; the previous users stay valid", error)
        if before is None or self._file is None:
            return lambda name: False
        old, new = before, self._file.users
        log.warning("the users file %s has changed", self._file.path)
        return lambda name: not old.same(new, name)


def _timed(record: PasswordRecord, password: str) -> tuple[bool, float]:
    began = time.monotonic()
    return record.is_made_of(password), time.monotonic() - began
