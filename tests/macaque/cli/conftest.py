"""The fixtures of the commands' tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def log_of_the_library() -> Iterator[None]:
    """A command silences the log of the library; it speaks again in the next test."""
    log = logging.getLogger("mqlight")
    level = log.level
    yield
    log.setLevel(level)
