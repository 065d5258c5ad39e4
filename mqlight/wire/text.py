"""Text from outside: which characters a name may have, how text is shown on one line, and which name was meant.

The rules of this file:

* Text that somebody else chose is shown through `printable`. It cannot begin a line of its own, nor send commands to a
  terminal, nor turn the order of the letters around.
* A name has no control character: other clients cut it off there, and terminals obey it.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

__all__ = ["control_in", "media_type", "nearest", "printable"]

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of characters that are not shown as themselves: controls, bidirectional marks, line ends."""


def control_in(text: str) -> str | None:
    """Return the first control character of ``text`` as ``U+0000 at 3``; None if there is none."""
    if text.isprintable():
        return None
    found = _CONTROL.search(text)
    return None if found is None else f"U+{ord(found[0]):04X} at {found.start()}"


def printable(value: object, most: int = 1000) -> str:
    """Return a text on one line, at most ``most`` characters of it, with escapes for what a terminal does not print."""
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
    """Return the one of ``known`` that is spelt most like ``name``, whatever its case; None if none is."""
    by_case = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), by_case, n=1, cutoff=cutoff)
    return by_case[found[0]] if found else None


def media_type(content_type: object) -> str:
    """Return a content type as it is compared: without parameters, in lower case; empty if there is none.

    RFC 9110, section 8.3.1: ``Application/JSON; charset="utf-8"`` is ``application/json``.
    """
    return str(content_type or "").partition(";")[0].strip().lower()
