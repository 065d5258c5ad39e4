from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from processes import Server


@pytest.fixture
def client(shared_server: Server) -> Iterator[macaque.Client]:
    with macaque.Client(broker=shared_server.url, timeout=10.0) as client:
        yield client


@pytest.fixture
def app(shared_server: Server) -> Iterator[macaque.Server]:
    """A server of `echo`, and of `stuck`, which does not answer before `app.go` is set."""
    app = macaque.Server(broker=shared_server.url)
    app.go = threading.Event()  # type: ignore[attr-defined]
    app.service("echo")(lambda data: data)

    @app.service("stuck")
    def stuck(data: Any) -> Any:
        app.go.wait(20.0)  # type: ignore[attr-defined]
        return data

    with app:
        yield app
        app.go.set()  # type: ignore[attr-defined]


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A URL at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"amqp://127.0.0.1:{taken.getsockname()[1]}"
