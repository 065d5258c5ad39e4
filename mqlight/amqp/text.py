"""Handle untrusted text: check the characters of names, show text on one line, and find the nearest known name.

The rules of this file:

* Untrusted text is shown through `printable`. Such text cannot begin a new line, send commands to a terminal, or
  reverse the order of the letters.
* A name has no control characters: other clients cut the name off there, and terminals obey them.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable

__all__ = ["control_in", "media_type", "nearest", "printable", "trace_id_of"]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of characters that are escaped: controls, bidirectional marks, line ends."""


def control_in(text: str) -> str | None:
    """Return the first control character of ``text`` in the form ``U+0000 at 3``, None if there is none."""
    if text.isprintable():
        return None
    found = _CONTROL.search(text)
    return None if found is None else f"U+{ord(found[0]):04X} at {found.start()}"


def printable(value: object, most: int = 1000) -> str:
    """Return at most ``most`` characters of a text, on one line. Characters that do not print are escaped."""
    text = str(value)
    if len(text) > most:
        text = text[: most - 3] + "..."
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode()


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the name in ``known`` that is spelt most like ``name``, in any case; None if none is similar."""
    by_case = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), by_case, n=1, cutoff=cutoff)
    return by_case[found[0]] if found else None


def media_type(content_type: object) -> str:
    """Return a content type for comparison: without parameters, in lower case; empty if there is none.

    RFC 9110, section 8.3.1: ``Application/JSON; charset="utf-8"`` is ``application/json``.
    """
    return str(content_type or "").partition(";")[0].strip().lower()


_TRACE_ID = re.compile("(?!0{32})[0-9a-f]{32}")


def trace_id_of(key: str) -> str:
    """Return the trace id (W3C Trace Context) of a request that carries none: its UUID without hyphens.

    Of any other key it is the first half of the SHA-256 of its UTF-8.
    """
    plain = key.replace("-", "")
    if _TRACE_ID.fullmatch(plain):
        return plain
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
