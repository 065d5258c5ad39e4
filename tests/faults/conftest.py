"""A server that may be killed and comes back, networks that fail, and the figures of how long it took to recover."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import macaque
from faults.proxy import Proxy
from faults.resilient import Resilient
from faults.stream import DEADLINE
from processes import Process, Spawn


@pytest.fixture
def recovered(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Note that it took so many seconds to recover from something; AssertionError if it was too long."""

    def note(what: str, seconds: float) -> None:
        record_property(what, seconds)
        # The promise is 5 s: the longest pause between two attempts. The rest is for a machine with other things to do.
        assert seconds < 8, f"{what}: recovered after {seconds:.2f} s only"

    return note


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Resilient]:
    """A server that keeps its messages on disk."""
    server = Resilient(tmp_path / "data")
    yield server
    server.close()


@pytest.fixture
def forgetful() -> Iterator[Resilient]:
    """A server that keeps its messages in memory."""
    server = Resilient()
    yield server
    server.close()


@pytest.fixture
def network() -> Iterator[Callable[[int], Proxy]]:
    """Networks that can fail: `network(port)` leads to a port of this machine."""
    with ExitStack() as stack:
        yield lambda port: stack.enter_context(Proxy(port))


@pytest.fixture
def caller() -> Iterator[Callable[[str], macaque.Client]]:
    """Clients whose calls outlast every fault: `caller(url)`."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(macaque.Client(broker=url, timeout=DEADLINE))


@pytest.fixture
def workers(spawn: Spawn) -> Callable[..., Process]:
    """Keep workers alive: `workers(url, endpoint, count, pause)`."""

    def start(url: str, endpoint: str = "echo", count: int = 2, pause: float = 0.0) -> Process:
        arguments = ["tests/faults/workers.py", endpoint, str(count), str(pause)]
        return spawn(arguments, env={"MACAQUE_BROKER": url}, ready=f"serves .*{endpoint}")

    return start
