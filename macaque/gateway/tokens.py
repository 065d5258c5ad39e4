"""The tokens of callers, from a file that may change while the gateway runs.

The rules of this file:

* A line is `NAME TOKEN [PATTERN ...]`. The patterns are the only topics of that caller; without any, it may use all
  that the gateway allows. TOKEN is the token itself, or `sha256:` and its hash in hexadecimal. A line that begins with
  `#` is a comment.
* Tokens are kept and found as hashes, keyed by a random key of the process. So the time of a look-up tells nothing.
* A changed file counts within a second. A changed file with an error changes nothing, and is logged.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from macaque.gateway.allowed import check_pattern
from mqlight.amqp.text import printable
from mqlight.log import Log

__all__ = ["VARIABLE", "Caller", "Tokens", "read_tokens"]

log = Log(__name__)

VARIABLE = "MACAQUE_GATEWAY_TOKEN"
"""The environment variable with the one token of all callers."""
SHORTEST = 16
"""The fewest characters of a token, so that it cannot be guessed."""
LOOK = 1.0
"""Seconds between two looks at the file."""
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
"""The form of a bearer token (RFC 6750, section 2.1)."""
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
HASH = re.compile(r"sha256:([0-9a-fA-F]{64})", re.ASCII)


@dataclass(frozen=True)
class Caller:
    """The owner of a token."""

    name: str
    patterns: tuple[str, ...] = ()
    """The only topics of this caller; empty: all that the gateway allows."""
    digest: bytes = field(default=b"", repr=False)
    """The SHA-256 of the token."""


def read_tokens(text: str) -> list[Caller]:
    """Return the callers in the text of a file of tokens. Raises ValueError with the number of the wrong line."""
    found: dict[bytes, Caller] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            caller = _caller(words)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if caller.digest in found:
            raise ValueError(f"line {number}: its token is also that of {found[caller.digest].name}: make another one")
        found[caller.digest] = caller
    if not found:
        raise ValueError("it has no tokens; write a line such as: ann " + secrets.token_urlsafe(24))
    return list(found.values())


def _caller(words: list[str]) -> Caller:
    name, *rest = words
    if not rest:
        raise ValueError("a line is NAME TOKEN [PATTERN ...]")
    if not NAME.fullmatch(name):
        raise ValueError(f"the name {printable(name, 80)} needs 1 to 64 characters of A-Z a-z 0-9 . _ -")
    for pattern in rest[1:]:
        check_pattern(pattern)
    return Caller(name, tuple(rest[1:]), _digest_of(rest[0]))


def _digest_of(token: str) -> bytes:
    if hashed := HASH.fullmatch(token):
        return bytes.fromhex(hashed[1])
    if not TOKEN.fullmatch(token):
        raise ValueError("the token has other characters than A-Z a-z 0-9 . _ ~ + / -")
    if len(token) < SHORTEST:
        raise ValueError(f"the token has {len(token)} characters; {SHORTEST} are the fewest, chosen at random")
    return hashlib.sha256(token.encode()).digest()


class Tokens:
    """The valid tokens.

    Args:
        path: the file, or None.
        token: the value of `MACAQUE_GATEWAY_TOKEN`, or empty.

    Raises:
        ValueError: the file cannot be used, or the token.
    """

    def __init__(self, path: str | None = None, token: str = "") -> None:
        self._path = None if path is None else Path(path)
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] = ()
        self._looked = 0.0
        try:
            self._own = [Caller("caller", (), _digest_of(token))] if token else []
        except ValueError as error:
            raise ValueError(f"{VARIABLE} cannot be used: {error}") from None
        self._callers: dict[bytes, Caller] = {}
        if self._path is None:
            self._keep([])
        else:
            try:
                self._seen = _state(self._path)
                self._read(self._path)
            except (OSError, ValueError) as error:
                raise ValueError(f"the file of tokens {path} cannot be used: {_reason(error)}") from None

    def __bool__(self) -> bool:
        """Return whether callers need a token."""
        return bool(self._callers)

    def find(self, token: str) -> Caller | None:
        """Return the owner of a token, None if it is not valid."""
        return self._find(hashlib.sha256(token.encode()).digest())

    def still_valid(self, caller: Caller) -> bool:
        """Return whether a caller still has its token and its topics."""
        return not caller.digest or self._find(caller.digest) == caller

    def _find(self, digest: bytes) -> Caller | None:
        self.look()
        return self._callers.get(self._keyed(digest))

    def _keyed(self, digest: bytes) -> bytes:
        return hmac.digest(self._key, digest, "sha256")

    def _keep(self, callers: list[Caller]) -> None:
        self._callers = {self._keyed(caller.digest): caller for caller in (*self._own, *callers)}

    def look(self) -> None:
        """Read the file again if it has changed. Looks at most once a second."""
        path, now = self._path, time.monotonic()
        if path is None or now - self._looked < LOOK or not self._lock.acquire(blocking=False):
            return
        try:
            if (state := _state(path)) != self._seen:
                self._seen = state
                self._read(path)
                log.info("%s has changed: %d tokens are valid now", path, len(self._callers))
        except (OSError, ValueError) as error:
            log.error("%s cannot be used, so the tokens that were read before stay valid: %s", path, _reason(error))
        finally:
            self._looked = now
            self._lock.release()

    def _read(self, path: Path) -> None:
        self._keep(read_tokens(path.read_text(encoding="utf-8")))
        if path.stat().st_mode & 0o077:
            log.warning("other users of this machine may read the tokens in %s: run chmod 600 %s", path, path)


def _state(path: Path) -> tuple[int, ...]:
    """Return figures that differ when the file has changed; none if there is no file at the moment."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _reason(error: Exception) -> str:
    return printable(error.strerror if isinstance(error, OSError) and error.strerror else str(error), 300)
