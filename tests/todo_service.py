"""The todo service as real processes, and callers over AMQP and HTTP that look the same to a test."""

from __future__ import annotations

import json
import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import macaque
from processes import ROOT, Process, start_server
from real_brokers import RabbitMq

FOLDER = ROOT / "examples/todo"
MACAQUE = [sys.executable, "-m", "macaque"]


class HttpCall:
    """A call over HTTP that has been answered, as a `macaque.Call`."""

    def __init__(self, uuid: str, response: httpx.Response) -> None:
        self.uuid = uuid
        self._response = response

    def result(self) -> Any:
        if self._response.is_success:
            return self._response.json()
        raise error_of(self._response)


def error_of(response: httpx.Response) -> macaque.RemoteError:
    """The error of a problem (RFC 9457), whose status is that of the response."""
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    return macaque.RemoteError(
        problem.get("code", response.status_code), problem["detail"], retryable=problem.get("retryable", False)
    )


class HttpClient:
    """Calls services at a URL, with the methods of a `macaque.Client` that the tests of the example use."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def call(self, topic: str, data: Any, *, uuid: str | None = None) -> HttpCall:
        key = uuid or made_up()
        return HttpCall(key, self._http.post(f"/{topic}", json=data, headers={"Idempotency-Key": key}))

    @contextmanager
    def stream(self, topic: str, data: Any) -> Iterator[Iterator[Any]]:
        assert data is None
        with self._http.stream("GET", f"/{topic}", headers={"Accept": "text/event-stream"}) as response:
            assert response.status_code == 200
            assert response.headers["Content-Type"] == "text/event-stream"
            yield (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: "))


def made_up() -> str:
    return str(uuid.uuid4())


class System:
    """The processes that serve the todo service in one way, with the database that they share."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self._stack = ExitStack()
        self.workers: list[Process] = []
        self.broker = ""
        self.url = ""
        self.front: Process
        """The HTTP server at `url`."""
        self.connect: Callable[[], Any]
        """Returns a new client."""

    def __enter__(self) -> System:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def empty(self) -> None:
        """Delete all tasks, and begin with the number 1 again."""
        with closing(sqlite3.connect(self.database, timeout=10)) as db, db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            for table in tables & {"task", "sqlite_sequence"}:
                db.execute(f"DELETE FROM {table}")

    def start(self, command: list[str], ready: str, **env: str) -> Process:
        """Start a program in the folder of the example."""
        env |= {"TODO_DB": str(self.database)} | ({"MACAQUE_BROKER": self.broker} if self.broker else {})
        process = Process(command, env, FOLDER)
        self._stack.callback(process.close)
        process.expect(ready)
        return process

    def start_broker(self) -> None:
        """Start a development server."""
        server = start_server()
        self._stack.callback(server.close)
        self.broker = server.url

    def start_workers(self, count: int = 2) -> None:
        command = [*MACAQUE, "run", "todo:app"]
        self.workers += [self.start(command, "serves todo/changes") for _ in range(count)]

    def start_http(self, command: list[str], ready: str, **env: str) -> None:
        """Start an HTTP server. Its output has its URL, which is the first group of `ready`."""
        self.front = self.start(command, ready, **env)
        self.url = self.front.expect(ready)[1]
        self.connect = lambda: HttpClient(self.url)

    def start_gateway(self, **env: str) -> None:
        """Start a gateway with the page; on the port of the one before, if there was one."""
        port = str(urlsplit(self.url).port or 0)
        command = [*MACAQUE, "gateway", "--allow", "todo/#", "--page", "page", "--port", port]
        self.start_http(command, r"(http://\S+:\d+)/", **env)


def over_amqp(system: System) -> None:
    system.start_broker()
    system.start_workers()
    system.connect = lambda: macaque.Client(system.broker)


def over_rabbitmq(system: System) -> None:
    system.broker = RabbitMq().url
    system.start_workers()
    system.connect = lambda: macaque.Client(system.broker)


def over_wsgi(system: System) -> None:
    command = ["-m", "gunicorn", "todo:wsgi", "--bind", "127.0.0.1:0", "--workers", "2", "--threads", "8"]
    system.start_http([sys.executable, *command], r"Listening at: (http://\S+)")


def over_asgi(system: System) -> None:
    pytest.importorskip("uvicorn")
    system.start_http([sys.executable, "-m", "uvicorn", "todo:app.asgi", "--port", "0"], r"running on (http://\S+)")


def over_gateway(system: System, **env: str) -> None:
    system.start_broker()
    system.start_workers()
    system.start_gateway(**env)


TRANSPORTS: dict[str, Callable[[System], None]] = {
    "amqp": over_amqp,
    "rabbitmq": over_rabbitmq,
    "wsgi": over_wsgi,
    "asgi": over_asgi,
    "gateway": over_gateway,
}
