"""Services as an application of ASGI. What all transports have in common is in test_transports.py."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

import macaque
from macaque.http import events
from macaque.http.asgi import Asgi
from macaque.http.request import Limits

BOUND = 10.0
JSON = (b"content-type", b"application/json")
Event = dict[str, Any]


class Caller:
    """One request to an application, and all that the application sends."""

    def __init__(self, app: Any, body: bytes = b"", /, **scope: Any) -> None:
        told = {"type": "http", "method": "POST", "path": "/echo", "query_string": b"", "headers": [JSON]}
        self._scope = {**told, **scope}
        self._app = app
        self.incoming: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.incoming.put_nowait({"type": "http.request", "body": body})
        self.sent: list[Event] = []
        self.on_send: Callable[[Event], object] = lambda event: None

    async def run(self) -> Caller:
        await asyncio.wait_for(self._app(self._scope, self._receive, self._send), BOUND)
        return self

    async def _receive(self) -> Event:
        found = await self.incoming.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def _send(self, event: Event) -> None:
        self.sent.append(event)
        self.on_send(event)

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(event["body"] for event in self.sent[1:])


class Services:
    def __init__(self) -> None:
        self.go, self.begun, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.app = app = macaque.Server()
        app.service("echo", safe=True)(lambda data: data)

        @app.service("stuck")
        async def stuck(data: Any) -> None:
            self.begun.set()
            try:
                await asyncio.sleep(BOUND)
            finally:
                self.ended.set()

        @app.service("count", safe=True)
        def count(data: Any) -> Iterator[int]:
            try:
                yield from range(data or 10**9)
            finally:
                self.ended.set()

        @app.service("quiet")
        def quiet(data: Any) -> Iterator[int]:
            self.go.wait(BOUND)
            yield 5


@pytest.fixture
def services() -> Iterator[Services]:
    services = Services()
    yield services
    services.go.set()
    services.app.close()


def run(make: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine to its end."""

    async def bounded() -> Any:
        return await asyncio.wait_for(make(), BOUND)

    return asyncio.run(bounded())


def ask(services: Services, body: bytes = b"", /, limits: Limits | None = None, **scope: Any) -> Caller:
    async def asked() -> Caller:
        app = services.app.asgi if limits is None else Asgi(services.app._mounted(), limits)
        return await Caller(app, body, **scope).run()

    return run(asked)  # type: ignore[no-any-return]


def test_a_post_is_a_call(services: Services) -> None:
    answer = ask(services, b'{"a": [1]}')
    assert (answer.status, answer.body) == (200, b'{"a":[1]}')
    assert answer.headers[b"content-length"] == b"9" and answer.headers[b"traceparent"].startswith(b"00-")
    assert ask(services, b"5", path="/nobody").status == 404
    assert ask(services, b"5", headers=[]).status == 415


def test_a_get_and_a_head_are_calls_of_a_safe_service(services: Services) -> None:
    answer = ask(services, method="GET", headers=[], query_string=b"a=5")
    assert (answer.status, answer.body) == (200, b'{"a":"5"}')
    answer = ask(services, method="HEAD", headers=[], query_string=b"a=5")
    assert (answer.status, answer.body, answer.headers[b"content-length"]) == (200, b"", b"9")
    assert ask(services, method="OPTIONS").headers[b"allow"] == b"GET, HEAD, POST, OPTIONS"
    assert ask(services, method="DELETE").status == 405


def test_a_head_of_a_stream_ends_it(services: Services) -> None:
    answer = ask(services, method="HEAD", path="/count", headers=[])
    assert (answer.status, answer.body) == (200, b"")
    assert services.ended.wait(BOUND)


def test_the_path_below_the_mount_point_is_the_topic(services: Services) -> None:
    for path in "/api/echo", "/echo":
        assert ask(services, b"5", path=path, root_path="/api").status == 200
    assert ask(services, b"5", path="/apiecho", root_path="/api").status == 404
    for path in "/gr\ufffdn", "/gr\udcffn":
        assert ask(services, b"5", path=path).status == 400


def test_a_header_that_comes_twice_is_one(services: Services) -> None:
    assert ask(services, b"5", headers=[JSON, (b"Content-Type", b"text/plain")]).status == 415
    keys = [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")]
    assert ask(services, b"5", headers=[JSON, *keys]).status == 400


@pytest.mark.parametrize("length", [b"-1", b"x", b"", "²".encode("latin-1")])
def test_a_length_that_is_none_is_refused(services: Services, length: bytes) -> None:
    assert ask(services, b"5", headers=[JSON, (b"content-length", length)]).status == 400


def test_a_large_body_is_refused(services: Services) -> None:
    limits = Limits(body=3)
    for length in b"4", b"9" * 30, b"9" * 5000:
        assert ask(services, headers=[JSON, (b"content-length", length)], limits=limits).status == 413
    assert ask(services, b"1234", limits=limits).status == 413
    assert ask(services, b"123", limits=limits).body == b"123"


def test_a_body_may_come_in_pieces_and_not_for_ever(services: Services) -> None:
    async def pieces() -> None:
        caller = Caller(services.app.asgi)
        caller.incoming = asyncio.Queue()
        for body in b"[1", b"", b"]":
            caller.incoming.put_nowait({"type": "http.request", "body": body, "more_body": body != b"]"})
        assert (await caller.run()).body == b"[1]"
        caller = Caller(Asgi(services.app._mounted(), Limits(timeout=0.05)))
        caller.incoming = asyncio.Queue()
        caller.incoming.put_nowait({"type": "http.request", "body": b"[1", "more_body": True})
        assert (await caller.run()).status == 408

    run(pieces)


def test_a_caller_that_leaves_before_its_body_runs_nothing(services: Services) -> None:
    async def left() -> None:
        caller = Caller(services.app.asgi, path="/stuck")
        caller.incoming = asyncio.Queue()
        caller.leave()
        assert (await caller.run()).status == 503

    run(left)
    assert not services.begun.is_set()


def test_a_middleware_that_waits_for_an_answer_gets_one_when_the_caller_leaves(services: Services) -> None:
    async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    async def left() -> None:
        caller = Caller(BaseHTTPMiddleware(services.app.asgi, pass_on), path="/stuck")
        running = asyncio.ensure_future(caller.run())
        await asyncio.get_running_loop().run_in_executor(None, services.begun.wait, BOUND)
        caller.leave()
        assert (await running).status == 503

    run(left)


def test_a_caller_that_leaves_cancels_its_call(services: Services) -> None:
    async def left() -> None:
        caller = Caller(services.app.asgi, path="/stuck")
        running = asyncio.ensure_future(caller.run())
        await asyncio.get_running_loop().run_in_executor(None, services.begun.wait, BOUND)
        caller.leave()
        assert (await running).status == 503

    run(left)
    assert services.ended.wait(BOUND)


def test_a_server_that_cancels_a_request_cancels_its_call(services: Services) -> None:
    async def cancelled() -> None:
        running = asyncio.ensure_future(Caller(services.app.asgi, path="/stuck").run())
        await asyncio.get_running_loop().run_in_executor(None, services.begun.wait, BOUND)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(cancelled)
    assert services.ended.wait(BOUND)


@pytest.mark.parametrize("how", ["disconnect", "error"])
def test_a_caller_that_leaves_a_stream_ends_its_generator(services: Services, how: str) -> None:
    async def left() -> None:
        caller = Caller(services.app.asgi, path="/count")

        def on_send(event: Event) -> None:
            if len(caller.sent) == 100:
                if how == "error":
                    raise OSError("the caller is gone")
                caller.leave()

        caller.on_send = on_send
        await caller.run()
        assert caller.sent[1]["body"] == b"id: 0\ndata: 0\n\n"
        assert caller.sent[-1]["more_body"]

    run(left)
    assert services.ended.wait(BOUND)


def test_a_caller_that_is_gone_before_its_problem_is_no_error(services: Services) -> None:
    async def gone() -> None:
        caller = Caller(services.app.asgi, path="/nobody")

        def on_send(event: Event) -> None:
            raise OSError("the caller is gone")

        caller.on_send = on_send
        assert len((await caller.run()).sent) == 1

    run(gone)


def test_a_quiet_stream_has_heartbeats(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAUSE", 0.02)

    async def quiet() -> None:
        caller = Caller(services.app.asgi, path="/quiet")
        caller.on_send = lambda event: len(caller.sent) == 4 and services.go.set()
        await caller.run()
        assert caller.headers[b"content-type"] == b"text/event-stream"
        assert caller.body.startswith(events.HEARTBEAT * 3)
        assert caller.body.endswith(b'id: 0\ndata: 5\n\nevent: end\ndata: {"parts":1}\n\n')

    run(quiet)


def test_many_requests_wait_without_threads(services: Services) -> None:
    async def many() -> int:
        callers = [Caller(services.app.asgi, path="/stuck") for _ in range(500)]
        running = [asyncio.ensure_future(caller.run()) for caller in callers]
        await asyncio.get_running_loop().run_in_executor(None, services.begun.wait, BOUND)
        threads = threading.active_count()
        for caller in callers:
            caller.leave()
        await asyncio.gather(*running)
        return threads

    before = threading.active_count()
    assert run(many) < before + 20


def test_an_error_of_the_application_is_answered_and_logged(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    services.app.config["CREDIT"] = "many"
    assert ask(services, b"5").status == 500
    assert "CREDIT" in caplog.text


# The life of the server


def live(services: Services) -> list[Event]:
    sent: list[Event] = []

    async def lived() -> None:
        events: list[Event] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> Event:
            return events.pop(0)

        async def send(event: Any) -> None:
            if event["type"] == "lifespan.startup.complete":
                assert services.app._mounted().begun
            sent.append(event)

        await services.app.asgi({"type": "lifespan"}, receive, send)

    run(lived)
    return sent


def test_it_begins_and_ends_with_the_server(services: Services) -> None:
    assert [event["type"] for event in live(services)] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not services.app._mounted().begun


def test_a_wrong_setting_ends_the_start(services: Services) -> None:
    services.app.config["CREDIT"] = "many"
    (failed,) = live(services)
    assert failed["type"] == "lifespan.startup.failed" and "CREDIT" in failed["message"]


def test_other_kinds_of_connections_are_refused(services: Services) -> None:
    async def others() -> list[Event]:
        caller = Caller(services.app.asgi, type="websocket")
        await caller.run()
        with pytest.raises(ValueError, match="'tcp'"):
            await Caller(services.app.asgi, type="tcp").run()
        return caller.sent

    assert run(others) == [{"type": "websocket.close", "code": 1003}]
