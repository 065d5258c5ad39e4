"""The users file: which users may log in, and the permissions of each.

A line is a user, a keyword and a value. Empty lines and lines that begin with # are ignored::

    fish password scrypt:16384:8:1:...
    fish send mqlight/sample/#
    fish subscribe response/#
    backend certificate
    fish admin

``python -m mqlight.server passwd`` makes ``password`` lines. ``certificate`` accepts a client certificate with that
common name. ``admin`` lets a user act in the console. ``send`` and ``subscribe`` each allow a topic pattern, in which
``{client}`` stands for the client's id. The user ``anonymous`` is a client that logs in without a user name. Lines of
the user ``*`` apply to all users.
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

from mqlight.amqp.text import control_in
from mqlight.amqp.topics import validate_pattern
from mqlight.server.permissions import Permissions, User

ANONYMOUS = "anonymous"
EVERYBODY = "*"
_COST, _BLOCK, _PARALLEL = 16384, 8, 1
"""The parameters of scrypt: each login takes about 50 ms and 16 MiB."""
_MOST_MEMORY = 256 * 1024 * 1024


class UsersError(ValueError):
    """The users file, a user name or a password is invalid. The text gives the reason."""


def hashed(password: str) -> str:
    """Return the value of a ``password`` line for a password: the parameters of scrypt, a new salt and the digest."""
    salt = secrets.token_bytes(16)
    parts = ("scrypt", _COST, _BLOCK, _PARALLEL, _text(salt), _text(_scrypt(password, salt, _COST, _BLOCK, _PARALLEL)))
    return ":".join(map(str, parts))


class PasswordRecord(NamedTuple):
    """The value of a ``password`` line: the parameters of scrypt, the salt and the digest."""

    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> PasswordRecord:
        """Parse the value of a ``password`` line.

        Raises:
            ValueError: The value is invalid, or its check would take more memory or time than a login may.
        """
        kind, cost, block, parallel, salt, digest = text.split(":")
        kept = cls(
            int(cost), int(block), int(parallel), base64.b64decode(salt, validate=True), base64.b64decode(digest)
        )
        power = kept.cost > 1 and not kept.cost & (kept.cost - 1)
        bounded = kept.block >= 1 and 1 <= kept.parallel <= 16 and 128 * kept.cost * kept.block <= _MOST_MEMORY // 2
        if kind != "scrypt" or not power or not bounded:
            raise ValueError("the hash is not of scrypt with supported parameters")
        return kept

    def is_made_of(self, password: str) -> bool:
        """Return whether ``password`` is the right one. This blocks for about 50 ms: call it on a thread."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.cost, self.block, self.parallel), self.digest)


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=cost, r=block, p=parallel, maxmem=_MOST_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass
class _Entry:
    password: PasswordRecord | None = field(default=None, repr=False)
    certificate: bool = False
    admin: bool = False
    send: list[str] = field(default_factory=list)
    subscribe: list[str] = field(default_factory=list)


class Users:
    """The content of a users file."""

    def __init__(self, entries: dict[str, _Entry]) -> None:
        self._entries = entries

    @classmethod
    def parse(cls, text: str, where: str = "the users file") -> Users:
        """Parse the text of a users file.

        Raises:
            UsersError: A line is invalid. The text gives the line's number.
        """
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
        """Return a user who has logged in, with its permissions; None is the anonymous user."""
        entries = [self._entries.get(key, _Entry()) for key in (ANONYMOUS if name is None else name, EVERYBODY)]
        send, subscribe = ([p for entry in entries for p in getattr(entry, verb)] for verb in ("send", "subscribe"))
        return User(name, Permissions(tuple(send), tuple(subscribe)))

    def password_of(self, name: str) -> PasswordRecord | None:
        """Return the password record of a user; None if the user is unknown or has no password."""
        entry = self._entries.get(name)
        return None if entry is None else entry.password

    def has_certificate(self, name: str) -> bool:
        """Return whether a client certificate with this common name may log in."""
        return any(self._entries.get(key, _Entry()).certificate for key in (name, EVERYBODY))

    def is_admin(self, name: str) -> bool:
        """Return whether a user may act in the console: send, replay, purge and drop."""
        return name in self._entries and any(self._entries.get(key, _Entry()).admin for key in (name, EVERYBODY))

    def same(self, other: Users, name: str | None) -> bool:
        """Return whether this file and ``other`` have the same lines about a user."""
        keys = (ANONYMOUS if name is None else name, EVERYBODY)
        return all(self._entries.get(key) == other._entries.get(key) for key in keys)


def _lines(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield the number, user, keyword and value of each line that is neither empty nor a comment."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, word, value, *_ = [*line.strip().split(None, 2), "", ""]
            yield number, name, word, value


def _set(entry: _Entry, name: str, word: str, value: str) -> None:
    if word in ("admin", "certificate"):
        if value:
            raise ValueError(f'the word {word} takes no value; write "{name} {word}"')
        setattr(entry, word, True)
    elif word == "password":
        if name in (ANONYMOUS, EVERYBODY):
            raise ValueError(f"{name} cannot have a password")
        if entry.password is not None:
            raise ValueError(f"the user {name!r} has a password already")
        try:
            entry.password = PasswordRecord.parse(value)
        except ValueError:
            raise ValueError(
                f'the password of {name!r} is not as "python -m mqlight.server passwd" writes it'
            ) from None
    elif word in ("send", "subscribe"):
        validate_pattern(value)
        (entry.send if word == "send" else entry.subscribe).append(value)
    else:  # the text does not show the keyword, because it may be a password
        raise ValueError("the second word must be password, certificate, admin, send or subscribe")


class UsersFile:
    """A users file that may change. ``users`` is the content that was last read without an error."""

    def __init__(self, path: str) -> None:
        """Read the file.

        Raises:
            UsersError: The file cannot be read or is invalid.
        """
        self.path = Path(path)
        self._seen: object = None
        self._failure: str | None = None
        """The reason why the last reading failed; the next :meth:`refresh` reads the file again."""
        self._spare: list[int] = []
        """A spare descriptor. It is closed so that the file can be read when the process has no other descriptor."""
        weakref.finalize(self, _close_all, self._spare)
        self.users = self._read()

    def refresh(self) -> Users | None:
        """Read the file again if it has changed or the last reading failed.

        While the file is invalid, the old content stays valid.

        Returns:
            The old content if new content was read, else None.

        Raises:
            UsersError: The file cannot be read or is invalid. Each reason is raised once.
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
        """Whether users other than the owner may read or write the file."""
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
            raise UsersError(f"cannot read the users file {self.path}: it changes while it is read")
        self._seen = seen
        return users

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._spare:
                raise
            _close_all(self._spare)  # else a user who holds all other descriptors could not be removed from the file
            return self.path.read_text(encoding="utf-8")
        finally:
            if not self._spare:
                with suppress(OSError):
                    self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def set_password(path: str, name: str, password: str) -> bool:
    """Set the password of a user in a users file. Create the file if it is missing.

    A new user gets lines that allow all topics. All other lines stay. The file is replaced as a whole, and only its
    owner may read the new file.

    Returns:
        True if the user is new.

    Raises:
        UsersError: The name, the password or the file is invalid, or the file cannot be written.
    """
    if (control := control_in(name)) is not None:
        raise UsersError(f"{name!r} cannot be a user: it has the control character {control}")
    if not name or name.startswith("#") or any(c.isspace() or not c.isprintable() for c in name):
        raise UsersError(f"{name!r} cannot be a user: a name has no spaces and does not begin with #")
    if name in (ANONYMOUS, EVERYBODY):
        raise UsersError(f"{name} cannot have a password")
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
    """Replace a file. A reader finds all of the old text or all of the new text, even after a crash."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # its mode is 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
