"""Who is who: a browser's session is a number that nobody can guess, signed so that nobody can choose it."""

from __future__ import annotations

import hmac
import re
import secrets

COMMON = ""
"""The session of every client that brings no cookie."""


class Sessions:
    """Makes sessions, and knows its own again: also after a restart, when the secret is the same."""

    def __init__(self, secret: str = "") -> None:
        self._key = secret.encode("utf-8", "surrogateescape") or secrets.token_bytes(32)

    def make(self) -> str:
        """Return a new session: 128 random bits and as many of their signature, in hexadecimal."""
        number = secrets.token_hex(16)
        return number + self._signature(number)

    def is_ours(self, session: str) -> bool:
        """Return whether `make` could have made a session."""
        form = re.fullmatch(r"[0-9a-f]{64}", session)
        return form is not None and hmac.compare_digest(session[32:], self._signature(session[:32]))

    def _signature(self, number: str) -> str:
        return hmac.new(self._key, number.encode(), "sha256").hexdigest()[:32]
