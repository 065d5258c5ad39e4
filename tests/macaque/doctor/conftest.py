from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examining import PASSWORD
from processes import ROOT, Server, start_server


@pytest.fixture
def started() -> Iterator[Callable[..., Server]]:
    """Start a server with these options."""
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(start_server(*options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The password lines of fish and bird."""
    file = tmp_path_factory.mktemp("users") / "users"
    for name in ("fish", "bird"):
        subprocess.run(
            [sys.executable, "-m", "mqlight.server", "passwd", str(file), name],
            input=f"{PASSWORD}\n", text=True, check=True, cwd=ROOT, stdout=subprocess.PIPE,
        )  # fmt: skip
    return [line for line in file.read_text().splitlines() if " password " in line]


@pytest.fixture
def restricted(tmp_path: Path, hashes: list[str], started: Callable[..., Server]) -> Callable[..., str]:
    """Start a server with these lines in its users file; returns what its URL is without a user."""

    def start(*lines: str) -> str:
        file = tmp_path / "users"
        file.write_text("\n".join([*hashes, *lines, ""]))
        file.chmod(0o600)
        return started("--users", str(file)).url

    return start


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
