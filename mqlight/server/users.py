"""The users file: who may come in, and what each may do.

A line is a user, a word, and a value; lines that begin with # and empty ones are nothing::

    fish password scrypt:16384:8:1:...
    fish send mqlight/sample/#
    fish subscribe response/#
    backend certificate

``password`` is made by ``python -m mqlight.server passwd``. ``certificate`` lets a client certificate of that common
name in. ``send`` and ``subscribe`` allow a topic pattern each, in which ``{client}`` stands for the client's id. The
user ``anonymous`` is who logs in as nobody; what is said of ``*`` is said of everybody.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mqlight.server.permissions import Permissions, User
from mqlight.wire.text import control_in
from mqlight.wire.topics import validate_pattern

ANONYMOUS = "anonymous"
EVERYBODY = "*"
_COST, _BLOCK, _PARALLEL = 16384, 8, 1
"""About 50 ms and 16 MiB for each login."""
_MOST_MEMORY = 256 * 1024 * 1024


class UsersError(ValueError):
    """A users file that cannot be used, or a name or password that cannot be one. The text says why."""


def hashed(password: str) -> str:
    """A password as the users file keeps it: with its salt and what scrypt was told."""
    salt = secrets.token_bytes(16)
    parts = ("scrypt", _COST, _BLOCK, _PARALLEL, _text(salt), _text(_scrypt(password, salt, _COST, _BLOCK, _PARALLEL)))
    return ":".join(map(str, parts))


class Kept(NamedTuple):
    """A password as it is kept."""

    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> Kept:
        """Raises ValueError, also for what would take more memory or time than a login may."""
        kind, cost, block, parallel, salt, digest = text.split(":")
        kept = cls(
            int(cost), int(block), int(parallel), base64.b64decode(salt, validate=True), base64.b64decode(digest)
        )
        power = kept.cost > 1 and not kept.cost & (kept.cost - 1)
        bounded = kept.block >= 1 and 1 <= kept.parallel <= 16 and 128 * kept.cost * kept.block <= _MOST_MEMORY // 2
        if kind != "scrypt" or not power or not bounded:
            raise ValueError("it was not made by scrypt, or by more of it than is good")
        return kept

    def is_made_of(self, password: str) -> bool:
        """Takes its time: call it where nobody waits."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.cost, self.block, self.parallel), self.digest)


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=cost, r=block, p=parallel, maxmem=_MOST_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


_NOBODY = Kept(_COST, _BLOCK, _PARALLEL, bytes(16), bytes(32))
"""Checked for a user that there is not, so that the time of an answer does not tell."""


@dataclass
class _Entry:
    password: Kept | None = field(default=None, repr=False)
    certificate: bool = False
    send: list[str] = field(default_factory=list)
    subscribe: list[str] = field(default_factory=list)


class Users:
    """What a users file says."""

    def __init__(self, entries: dict[str, _Entry]) -> None:
        self._entries = entries

    @classmethod
    def parse(cls, text: str, where: str = "the users file") -> Users:
        """Raises UsersError with the line's number."""
        entries: dict[str, _Entry] = {}
        for number, name, word, value in _lines(text):
            entry = entries.setdefault(name, _Entry())
            try:
                if (control := control_in(name)) is not None:
                    raise ValueError(f"the user {name!r} has the control character {control}")
                _set(entry, name, word, value)
            except ValueError as error:
                raise UsersError(f"{where}, line {number}: {error}") from None
        return cls(entries)

    def user(self, name: str | None) -> User:
        """A user who has logged in, and what it may do."""
        entries = [self._entries.get(key, _Entry()) for key in (ANONYMOUS if name is None else name, EVERYBODY)]
        send, subscribe = ([p for entry in entries for p in getattr(entry, verb)] for verb in ("send", "subscribe"))
        return User(name, Permissions(tuple(send), tuple(subscribe)))

    def is_password_of(self, name: str, password: str) -> bool:
        """Takes the same time whether there is such a user or not."""
        kept = self.password_of(name)
        return (kept or _NOBODY).is_made_of(password) and kept is not None

    def password_of(self, name: str) -> Kept | None:
        """A user's password as it is kept; None without a password, or without such a user."""
        entry = self._entries.get(name)
        return None if entry is None else entry.password

    def has_certificate(self, name: str) -> bool:
        """Whether a client whose certificate has this common name may come in."""
        return any(self._entries.get(key, _Entry()).certificate for key in (name, EVERYBODY))

    def has_anonymous(self) -> bool:
        """Whether the file speaks of anonymous clients."""
        return ANONYMOUS in self._entries

    def same(self, other: Users, name: str | None) -> bool:
        """Whether ``other`` says the same of a user."""
        keys = (ANONYMOUS if name is None else name, EVERYBODY)
        return all(self._entries.get(key) == other._entries.get(key) for key in keys)


def _lines(text: str) -> Iterator[tuple[int, str, str, str]]:
    """The lines that say something: number, user, word and value."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, word, value, *_ = [*line.strip().split(None, 2), "", ""]
            yield number, name, word, value


def _set(entry: _Entry, name: str, word: str, value: str) -> None:
    if word == "certificate":
        if value:
            raise ValueError(f'the word certificate takes no value; write "{name} certificate"')
        entry.certificate = True
    elif word == "password":
        if name in (ANONYMOUS, EVERYBODY):
            raise ValueError(f"{name} can have no password")
        if entry.password is not None:
            raise ValueError(f"the user {name!r} has a password already")
        try:
            entry.password = Kept.parse(value)
        except ValueError:
            raise ValueError(
                f'the password of {name!r} is not as "python -m mqlight.server passwd" writes it'
            ) from None
    elif word in ("send", "subscribe"):
        validate_pattern(value)
        (entry.send if word == "send" else entry.subscribe).append(value)
    else:  # the word is not shown: it may be a password
        raise ValueError("the second word is none of password, certificate, send and subscribe")


class UsersFile:
    """A users file that may change. ``users`` is what it said when it could last be read."""

    def __init__(self, path: str) -> None:
        """Raises UsersError."""
        self.path = Path(path)
        self._seen: object = None
        self._failure: str | None = None
        """Why the last reading failed; the next :meth:`refresh` tries again."""
        self._spare: list[int] = []
        """A descriptor that is given up for a moment where there is no other to read the file."""
        weakref.finalize(self, _close_all, self._spare)
        self.users = self._read()

    def refresh(self) -> Users | None:
        """Read the file again if it has changed, or could not be read last time; returns what it said before.

        Until the file can be used, what it said before holds. Raises UsersError, once for each reason.
        """
        if self._failure is None and self._stamp() == self._seen:
            return None
        try:
            users = self._read()
        except UsersError as error:
            if str(error) == self._failure:
                return None
            self._failure = str(error)
            raise
        self._failure = None
        before, self.users = self.users, users
        return before

    @property
    def is_open(self) -> bool:
        """Whether others than its owner may read it."""
        return bool(self.path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH))

    def _stamp(self) -> object:
        try:
            about = self.path.stat()
        except OSError as error:
            return error.errno
        return about.st_dev, about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size

    def _read(self) -> Users:
        seen = self._stamp()
        try:
            text = self._text()
        except OSError as error:
            raise UsersError(f"cannot read the users file {self.path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UsersError(f"cannot read the users file {self.path}: it is not UTF-8") from None
        users = Users.parse(text, f"the users file {self.path}")
        if self._stamp() != seen:
            raise UsersError(f"cannot read the users file {self.path}: it changes meanwhile")
        self._seen = seen
        return users

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._spare:
                raise
            _close_all(self._spare)  # a user who holds all other descriptors could not be taken out otherwise
            return self.path.read_text(encoding="utf-8")
        finally:
            if not self._spare:
                with suppress(OSError):
                    self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def set_password(path: str, name: str, password: str) -> bool:
    """Give a user a password in a users file, which is made if need be; True when the user is new.

    A new user gets lines that allow everything. All other lines stay. The file is replaced as a whole, and only its
    owner may read it. Raises UsersError.
    """
    if (control := control_in(name)) is not None:
        raise UsersError(f"{name!r} cannot be a user: it has the control character {control}")
    if not name or name.startswith("#") or any(c.isspace() or not c.isprintable() for c in name):
        raise UsersError(f"{name!r} cannot be a user: a name has no spaces and does not begin with #")
    if name in (ANONYMOUS, EVERYBODY):
        raise UsersError(f"{name} can have no password")
    if not password:
        raise UsersError("the password is empty; give at least one character")
    if control_in(password) is not None:
        raise UsersError("the password has a control character, which clients cannot send; choose one without")
    file = Path(os.path.realpath(path))
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        Users.parse(text, f"the users file {path}")
        line = f"{name} password {hashed(password)}"
        places = {(who, word): number - 1 for number, who, word, _ in _lines(text)}
        lines = text.rstrip("\n").split("\n") if text.strip() else []
        place = places.get((name, "password"))
        new = not any(who == name for who, _ in places)
        if place is not None:
            lines[place] = line
        else:
            lines.append(line)
        if new:
            lines += [f"{name} send #", f"{name} subscribe #"]
        _replace(file, "\n".join(lines) + "\n")
    except UnicodeDecodeError:
        raise UsersError(f"cannot read the users file {path}: it is not UTF-8") from None
    except OSError as error:
        raise UsersError(f"cannot write the users file {path}: {error.strerror}") from None
    return new


def _replace(file: Path, text: str) -> None:
    """Whoever reads the file meanwhile, or after a crash, finds all of the old text or all of the new."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # of mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
