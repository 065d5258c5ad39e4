"""One module of services, called over AMQP, and over WSGI and ASGI: data, errors, hooks and streams are the same.

"You could fairly easily use both libraries in the same app and serve your microservices over multiple transports."
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import httpx
import pytest
from werkzeug.test import Client

import macaque
from macaque.http import wsgi
from macaque.http.answer import problem_of
from processes import Server, wait_until

BOUND = 10.0


class Reply(NamedTuple):
    """An answer in words that all transports have: the status of HTTP, and the data or the members of the error."""

    status: int
    data: Any = None
    parts: Any = None

    @property
    def error(self) -> dict[str, Any]:
        assert isinstance(self.data, dict)
        return {name: self.data[name] for name in self.data if name not in ("type", "title", "status")}


class Transport(Protocol):
    def call(self, topic: str, data: Any = None, *, timeout: float = BOUND, key: str | None = None) -> Reply: ...
    def notify(self, topic: str, data: Any = None) -> Reply: ...


class Amqp:
    def __init__(self, app: macaque.Server, client: macaque.Client) -> None:
        self._client = client

    def call(self, topic: str, data: Any = None, *, timeout: float = BOUND, key: str | None = None) -> Reply:
        if topic.startswith("stream/"):
            return self._stream(topic, data, timeout)
        call = self._client.call(topic, data, timeout=timeout, uuid=key)
        try:
            return Reply(200, call.result())
        except macaque.MacaqueError as error:
            problem = problem_of(error, begun=call._accepted)
            return Reply(problem.status, json.loads(problem.body))

    def _stream(self, topic: str, data: Any, timeout: float) -> Reply:
        parts: list[Any] = []
        try:
            for part in self._client.stream(topic, data, timeout):
                parts.append(part)
        except macaque.MacaqueError as error:
            problem = problem_of(error)
            return Reply(200 if parts else problem.status, json.loads(problem.body), parts or None)
        return Reply(200, None, parts)

    def notify(self, topic: str, data: Any = None) -> Reply:
        self._client.notify(topic, data).result()
        return Reply(202)


class Http:
    def call(self, topic: str, data: Any = None, *, timeout: float = BOUND, key: str | None = None) -> Reply:
        headers = {"Prefer": f"wait={timeout:g}"}
        if key is not None:
            headers["Idempotency-Key"] = json.dumps(key)
        status, kind, body = self._post(topic, data, headers)
        if kind == "text/event-stream":
            return Reply(status, *_parts(body))
        assert kind == ("application/json" if status == 200 else "application/problem+json")
        return Reply(status, json.loads(body))

    def notify(self, topic: str, data: Any = None) -> Reply:
        return Reply(self._post(topic, data, {"Prefer": "respond-async"})[0])

    def _post(self, topic: str, data: Any, headers: dict[str, str]) -> tuple[int, str, bytes]:
        raise NotImplementedError


def _parts(body: bytes) -> tuple[Any, Any]:
    """The error and the parts of server-sent events."""
    parts: list[Any] = []
    for event in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.splitlines() if not line.startswith(":"))
        if "id" in fields:
            assert int(fields["id"]) == len(parts)
            parts.append(json.loads(fields["data"]))
        elif fields.get("event") == "error":
            return json.loads(fields["data"]), parts
        elif fields.get("event") == "end":
            assert json.loads(fields["data"]) == {"parts": len(parts)}
            return None, parts
    raise AssertionError(f"a stream without an end: {body!r}")


class Wsgi(Http):
    def __init__(self, app: macaque.Server, client: macaque.Client) -> None:
        self._http = Client(app.wsgi)

    def _post(self, topic: str, data: Any, headers: dict[str, str]) -> tuple[int, str, bytes]:
        answer = self._http.post(f"/{topic}", json=data, headers=headers)
        return answer.status_code, answer.mimetype, answer.data


class Front(Wsgi):
    """WSGI in another process than the services, as in the gateway, where nothing is known of them."""

    def __init__(self, app: macaque.Server, client: macaque.Client) -> None:
        self._client = client
        self._http = Client(wsgi.Wsgi(self))

    def client(self) -> macaque.Client:
        return self._client

    def at(self, path: str) -> str:
        return path

    def find(self, topic: str) -> None:
        return None


class Asgi(Http):
    def __init__(self, app: macaque.Server, client: macaque.Client) -> None:
        self._app = app.asgi

    def _post(self, topic: str, data: Any, headers: dict[str, str]) -> tuple[int, str, bytes]:
        async def post() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.post(f"/{topic}", json=data, headers=headers)

        answer = asyncio.run(post())
        return answer.status_code, answer.headers["content-type"], answer.content


# The module of services


@dataclass
class Order:
    item: str
    count: int = 1


user: ContextVar[str] = ContextVar("user", default="nobody")


class Module:
    def __init__(self, url: str) -> None:
        self.runs: list[Any] = []
        self.go, self.ended = threading.Event(), threading.Event()
        self.app = app = macaque.Server(broker=url)

        @app.before_request
        def before() -> Any:
            user.set("somebody")
            return {"cached": True} if macaque.request.topic == "cached" else None

        @app.after_request
        def after(reply: macaque.Reply) -> None:
            if reply.error is None and isinstance(reply.data, dict):
                reply.data["after"] = True

        @app.errorhandler(LookupError)
        def missing(error: LookupError) -> Any:
            macaque.abort(404, f"there is no {error.args[0]}")

        app.service("echo")(lambda data: data)
        app.service("cached")(lambda data: self.runs.append(data))
        app.service("who")(lambda data: {"user": user.get()})

        @app.service("order", safe=True)
        def order(order: Order, request: macaque.Request) -> dict[str, Any]:
            return {"item": order.item, "count": order.count, "topic": request.topic, "attempt": request.attempt}

        @app.service("aborts")
        def aborts(code: Any) -> None:
            macaque.abort(code, "not this", {"code": code}, retryable=code == 503)

        @app.service("fails")
        def fails(data: Any) -> None:
            raise KeyError("gold") if data == "lookup" else ValueError("the password is 123")

        @app.service("awaits")
        async def awaits(data: Any) -> Any:
            await asyncio.sleep(0)
            return data

        @app.service("limited", timeout=0.1, credit=1)
        def limited(data: Any) -> None:
            self.go.wait(BOUND)

        @app.service("stuck", credit=1)
        def stuck(data: Any) -> None:
            self.runs.append(data)
            self.go.wait(BOUND)

        @app.service("once", idempotent_for=60)
        def once(data: Any) -> int:
            self.runs.append(data)
            return len(self.runs)

        @app.service("flaky")
        def flaky(data: Any) -> None:
            self.runs.append(macaque.request.attempt)
            if len(self.runs) < 2:
                raise OSError("not yet")

        @app.service("odd")
        def odd(data: Any) -> Any:
            return object()

        @app.service("stream/count")
        def count(count: int) -> Iterator[int]:
            try:
                for number in range(count):
                    if number == 50:
                        macaque.abort(409, "no more than 50")
                    yield number
            finally:
                self.ended.set()

        @app.service("stream/async")
        async def letters(text: str) -> AsyncIterator[str]:
            for letter in text:
                await asyncio.sleep(0)
                yield letter


@pytest.fixture
def module(shared_server: Server) -> Iterator[Module]:
    module = Module(shared_server.url)
    yield module
    module.go.set()
    module.app.close()


OVER_A_BROKER = (Amqp, Front)


@pytest.fixture(params=[*OVER_A_BROKER, Wsgi, Asgi])
def transport(request: pytest.FixtureRequest, module: Module, client: macaque.Client) -> Transport:
    if request.param in OVER_A_BROKER:
        module.app.connect()
    return request.param(module.app, client)  # type: ignore[no-any-return]


def test_data_is_json_as_it_is(transport: Transport) -> None:
    for data in (None, True, 5, -2.5, "grün \u2028\n", [], [1, [2]], {"a": {"b": None}, "": 1}, 10**25, "x" * 300_000):
        wanted = {**data, "after": True} if isinstance(data, dict) else data
        assert transport.call("echo", data) == Reply(200, wanted)
        assert transport.call("awaits", data) == Reply(200, wanted)


def test_data_is_checked_by_the_types_of_the_function(transport: Transport) -> None:
    assert transport.call("order", {"item": "wine"}).data == {
        "item": "wine", "count": 1, "topic": "order", "attempt": 1, "after": True,
    }  # fmt: skip
    refused = transport.call("order", {"item": "wine", "count": "many"})
    assert refused.status == 400
    assert refused.error["details"]["errors"] == [{"path": "order.count", "message": "Expected `int`, got `str`"}]


def test_hooks_run_around_the_function_in_its_context(transport: Transport, module: Module) -> None:
    assert transport.call("who").data == {"user": "somebody", "after": True}
    assert transport.call("cached").data == {"cached": True, "after": True}
    assert module.runs == []
    assert transport.call("fails", "lookup").error == {"detail": "there is no gold"}


@pytest.mark.parametrize(("code", "status"), [(400, 400), (404, 404), (409, 409), (503, 503), (599, 599)])
def test_an_abort_has_its_code_text_and_details(transport: Transport, code: int, status: int) -> None:
    aborted = transport.call("aborts", code)
    retryable = {"retryable": True} if code == 503 else {}
    assert aborted.status == status
    assert aborted.error == {"detail": "not this", "details": {"code": code}, **retryable}


@pytest.mark.parametrize("code", [200, 302, 600, "sold-out"])
def test_an_abort_with_another_code_is_500_and_tells_it(transport: Transport, code: Any) -> None:
    aborted = transport.call("aborts", code)
    assert (aborted.status, aborted.error["code"]) == (500, code)


def test_the_text_of_an_exception_stays_in_the_house(transport: Transport) -> None:
    assert transport.call("fails").error == {"detail": "The service failed."}
    assert transport.call("odd").error == {"detail": "The service failed."}


def test_a_topic_without_a_service_is_told_apart(transport: Transport) -> None:
    assert transport.call("nobody/here").status == (503 if isinstance(transport, OVER_A_BROKER) else 404)


def test_a_function_that_exceeds_its_time_is_504(transport: Transport) -> None:
    late = transport.call("limited")
    assert (late.status, late.error["retryable"]) == (504, True)
    assert "not done within 0.1 s" in late.error["detail"]


def test_a_caller_waits_as_long_as_it_likes(transport: Transport) -> None:
    late = transport.call("stuck", timeout=0.1)
    assert (late.status, late.error["detail"]) == (504, "stuck did not answer within 0.1 s.")


def test_inside_of_a_process_a_full_service_is_503_when_the_time_is_over(transport: Transport, module: Module) -> None:
    transport.call("stuck", 1, timeout=0.1)
    full = transport.call("stuck", 2, timeout=0.1)
    assert full.status == (
        504 if isinstance(transport, OVER_A_BROKER) else 503
    )  # a broker accepts before there is a place
    module.go.set()
    assert transport.call("stuck", 3).status == 200
    assert module.runs == [1, 3]


def test_a_key_that_comes_twice_runs_once(transport: Transport, module: Module) -> None:
    assert [transport.call("once", 5, key="a").data for _ in range(3)] == [1, 1, 1]
    assert transport.call("once", 5, key="b").data == 2
    assert module.runs == [5, 5]


def test_a_one_way_message_is_tried_until_it_succeeds(transport: Transport, module: Module) -> None:
    assert transport.notify("flaky").status == 202
    wait_until(lambda: module.runs == [1, 2], BOUND)


def test_a_stream_has_all_its_parts_and_an_end(transport: Transport) -> None:
    assert transport.call("stream/count", 40) == Reply(200, None, list(range(40)))
    assert transport.call("stream/async", "grün") == Reply(200, None, list("grün"))
    assert transport.call("stream/count", 0) == Reply(200, None, [])


def test_an_error_comes_after_the_parts_before_it(transport: Transport) -> None:
    broken = transport.call("stream/count", 100)
    assert (broken.status, broken.parts) == (200, list(range(50)))
    assert (broken.data["status"], broken.error) == (409, {"detail": "no more than 50"})
    refused = transport.call("stream/count", "many")
    assert (refused.status, refused.parts) == (400, None)


def test_many_callers_get_their_own_answers(transport: Transport) -> None:
    replies: dict[int, Any] = {}

    def call(number: int) -> None:
        replies[number] = [transport.call("echo", [number, again]).data for again in range(10)]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert replies == {number: [[number, again] for again in range(10)] for number in range(8)}
