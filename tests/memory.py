"""The memory of the process that runs the tests."""

from __future__ import annotations

from pathlib import Path

import pytest


def resident() -> int:
    """The bytes of memory that this process uses, those of C libraries included."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        pytest.skip("this system does not say how much memory a process uses")
