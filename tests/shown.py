"""Values in the names of tests."""

from __future__ import annotations

import re


def shown(value: object) -> str:
    """Return the value's repr, cut down, and without addresses: a test has one name in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", ascii(value))[:40]
