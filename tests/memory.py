"""The memory of the process that runs the tests."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest


def resident() -> int:
    """The bytes of memory that this process uses, those of C libraries included."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        pytest.skip("this system does not say how much memory a process uses")


def kept(function: Callable[[], object]) -> int:
    """Call a function, and return the bytes of Python's memory that it took and did not give back."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        function()
        after, _ = tracemalloc.get_traced_memory()
        return after - before
    finally:
        tracemalloc.stop()
