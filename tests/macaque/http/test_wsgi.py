"""Services as an application of WSGI, over a broker. What all transports have in common is in test_transports.py."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from wsgiref.validate import validator

import pytest
from werkzeug.test import Client, run_wsgi_app

import macaque
from macaque.http import events
from macaque.http.answer import Problem
from macaque.http.request import Limits
from macaque.http.wsgi import Wsgi
from macaque.observe.info import ServiceInfo
from processes import wait_until

BOUND = 10.0
JSON = "application/json"


@dataclass
class Behind:
    """The services behind a broker, of which some are known."""

    caller: macaque.Client
    known: dict[str, ServiceInfo]

    def client(self) -> macaque.Client:
        return self.caller

    def at(self, path: str) -> str:
        return path

    def find(self, topic: str) -> ServiceInfo | None:
        if topic == "forbidden":
            raise Problem(403, "Not this one.")
        return self.known.get(topic)


class Http(Client):
    """Takes the whole answer, as most callers do, unless it is told otherwise."""

    def open(self, *args: Any, buffered: bool = True, **options: Any) -> Any:
        return super().open(*args, buffered=buffered, **options)


class Counter:
    def __init__(self) -> None:
        self.ended = threading.Event()

    def __call__(self, data: Any) -> Iterator[int]:
        try:
            yield from range(data)
            if data < 10:
                macaque.abort(404, "no more")
        finally:
            self.ended.set()


@pytest.fixture
def counter(app: macaque.Server) -> Counter:
    counter = Counter()
    app.service("count")(counter)
    wait_until(lambda: not app.unready(), BOUND)
    return counter


@pytest.fixture
def behind(client: macaque.Client) -> Behind:
    return Behind(client, {})


@pytest.fixture
def http(app: macaque.Server, behind: Behind) -> Http:
    return Http(validator(Wsgi(behind, Limits(timeout=5.0, body=1000))))


def test_a_post_is_a_call(http: Http) -> None:
    answer = http.post("/echo", json={"a": [1, "ü"]})
    assert (answer.status_code, answer.json, answer.mimetype) == (200, {"a": [1, "ü"]}, JSON)
    assert answer.headers["traceparent"].startswith("00-")
    assert http.post("/echo").json is None


def test_a_topic_may_be_percent_encoded(http: Http, app: macaque.Server) -> None:
    app.service("grün/a b")(lambda data: data)
    wait_until(lambda: not app.unready(), BOUND)
    assert http.post("/gr%C3%BCn%2Fa%20b", json=5).json == 5
    assert send(http, PATH_INFO="/gr\xff", CONTENT_LENGTH="0").status_code == 400


def test_an_unknown_topic_has_no_responders(http: Http) -> None:
    answer = http.post("/nobody/here", json=5)
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "1"


def test_the_services_may_refuse_a_request(http: Http) -> None:
    assert http.post("/forbidden", json=5).status_code == 403


def test_get_is_for_services_that_are_known_to_be_safe(http: Http, behind: Behind) -> None:
    answer = http.get("/echo?a=5")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, OPTIONS")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    behind.known["echo"] = ServiceInfo(topic="echo", safe=True, request=schema)
    assert http.get("/echo?a=5").json == {"a": 5}
    answer = http.head("/echo?a=5")
    assert (answer.status_code, answer.data, answer.headers["Content-Length"]) == (200, b"", "7")
    assert http.options("/echo").headers["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_a_late_answer_is_504_and_the_caller_may_shorten_the_time(http: Http, app: macaque.Server) -> None:
    answer = http.post("/stuck", json=5, headers={"Prefer": "wait=0.2"})
    assert answer.status_code == 504
    app.go.set()  # type: ignore[attr-defined]


def test_a_one_way_message_is_accepted(http: Http, app: macaque.Server) -> None:
    taken: list[Any] = []
    app.service("log")(taken.append)
    wait_until(lambda: not app.unready(), BOUND)
    answer = http.post("/log", json="word", headers={"Prefer": "respond-async"})
    assert (answer.status_code, list(answer.json)) == (202, ["uuid"])
    wait_until(lambda: taken == ["word"], BOUND)


def test_a_key_in_flight_is_a_conflict(http: Http, app: macaque.Server, client: macaque.Client) -> None:
    first = client.call("stuck", 5, uuid="key")
    assert http.post("/stuck", json=5, headers={"Idempotency-Key": '"key"'}).status_code == 409
    app.go.set()  # type: ignore[attr-defined]
    assert first.result() == 5


def test_the_trace_is_passed_on(http: Http, app: macaque.Server) -> None:
    app.service("trace")(lambda data: macaque.request.trace)
    wait_until(lambda: not app.unready(), BOUND)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = http.post("/trace", headers={"traceparent": parent})
    assert (answer.json, answer.headers["traceparent"]) == (parent, parent)


def test_a_client_that_is_closed_is_unavailable(http: Http, behind: Behind) -> None:
    behind.caller.close()
    assert http.post("/echo", json=5).status_code == 503


def test_a_server_that_ends_a_request_cancels_its_call(http: Http, app: macaque.Server, client: macaque.Client) -> None:
    class Ended(BaseException):
        """An exception such as a timeout of gevent."""

    def end(lock: Any, seconds: float) -> bool:
        raise Ended

    client.connect()
    client._connection.wait = end  # type: ignore[attr-defined, method-assign]
    for topic in "stuck", "echo":
        with pytest.raises(Ended):
            http.post(f"/{topic}", json=5)
    assert client._in_flight == 0
    app.go.set()  # type: ignore[attr-defined]


def test_a_server_with_debug_tells_the_text_of_an_exception() -> None:
    app = macaque.Server()
    app.service("fails")(lambda data: data["member"])
    assert Http(app.wsgi).post("/fails", json={}).json["detail"] == "The service failed."
    app.close()
    app._debug = True
    assert Http(app.wsgi).post("/fails", json={}).json["detail"] == "'member'"
    app.close()


# Bodies


def send(http: Http, **environ: Any) -> Any:
    told = {"PATH_INFO": "/echo", "REQUEST_METHOD": "POST", "CONTENT_TYPE": JSON}
    return http.open(environ_overrides={**told, **environ})


def test_a_large_body_is_refused_without_reading_it(http: Http) -> None:
    for length in "1001", "9" * 30, "9" * 4000:
        assert send(http, CONTENT_LENGTH=length).status_code == 413
    assert send(http, CONTENT_LENGTH="1000", **{"wsgi.input": io.BytesIO(b" " * 999 + b"5")}).json == 5


def test_a_length_that_is_none_is_refused(app: macaque.Server, behind: Behind) -> None:
    http = Http(Wsgi(behind))  # the validator would refuse it too
    for length in "-1", "x", "5, 5", "٣":
        assert send(http, CONTENT_LENGTH=length).status_code == 400


def test_a_body_that_is_shorter_than_its_length_is_refused(http: Http) -> None:
    assert send(http, CONTENT_LENGTH="10", **{"wsgi.input": io.BytesIO(b"5")}).status_code == 400


@pytest.mark.parametrize("error", [OSError("gone"), EOFError("an error of the server's own")])
def test_a_body_that_cannot_be_read_is_refused(http: Http, error: Exception) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error

    assert send(http, CONTENT_LENGTH="10", **{"wsgi.input": Broken()}).status_code == 400


def test_a_body_without_a_length_is_read_if_the_server_ends_it(http: Http) -> None:
    environ = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert send(http, **environ, **{"wsgi.input": io.BytesIO(b"[5]")}).json == [5]
    assert send(http, **environ, **{"wsgi.input": io.BytesIO(b" " * 1001)}).status_code == 413
    environ["wsgi.input_terminated"] = False
    assert send(http, **environ, **{"wsgi.input": io.BytesIO(b"[5]")}).status_code == 411


# Streams


def test_a_stream_is_events_whether_it_is_known_or_not(http: Http, counter: Counter, behind: Behind) -> None:
    for known in {}, {"count": ServiceInfo(topic="count", streams=True)}:
        behind.known.update(known)
        answer = http.post("/count", json=2)
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
        *parts, last, nothing = answer.data.decode().split("\n\n")
        assert parts == ["id: 0\ndata: 0", "id: 1\ndata: 1"]
        assert last.startswith("event: error\ndata: ") and not nothing
        assert json.loads(last.partition("data: ")[2])["status"] == 404
    assert http.post("/count", json=10).data.endswith(b'id: 9\ndata: 9\n\nevent: end\ndata: {"parts":10}\n\n')


def test_an_error_before_the_first_part_has_its_status(http: Http, counter: Counter) -> None:
    assert http.post("/count", json=0).status_code == 404
    assert http.post("/count", json="x").status_code == 500


def test_a_stream_that_is_left_ends_its_generator(http: Http, counter: Counter) -> None:
    answer = http.post("/count", json=10**9, buffered=False)
    parts = iter(answer.response)
    assert next(parts).startswith(b"id: 0")
    assert not counter.ended.is_set()
    answer.close()
    assert counter.ended.wait(BOUND)


def test_a_stream_that_the_server_never_reads_ends_its_generator(behind: Behind, counter: Counter) -> None:
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/count", "CONTENT_LENGTH": "6", "CONTENT_TYPE": JSON,
        "wsgi.input": io.BytesIO(b"100000"),
    }  # fmt: skip
    body = Wsgi(behind)(environ, lambda status, headers: None)
    body.close()  # type: ignore[attr-defined]
    assert counter.ended.wait(BOUND)


def test_a_quiet_stream_has_heartbeats(app: macaque.Server, behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def quiet(data: Any) -> Iterator[int]:
        go.wait(BOUND)
        yield 5

    app.service("quiet")(quiet)
    wait_until(lambda: not app.unready(), BOUND)
    monkeypatch.setattr(events, "PAUSE", 0.05)
    behind.known["quiet"] = ServiceInfo(topic="quiet", streams=True)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/quiet"}
    body, status, _ = run_wsgi_app(Wsgi(behind), environ)
    parts = iter(body)
    assert status == "200 OK"
    assert [next(parts), next(parts)] == [events.HEARTBEAT] * 2
    go.set()
    assert next(part for part in parts if part != events.HEARTBEAT) == b"id: 0\ndata: 5\n\n"
    assert next(parts) == b'event: end\ndata: {"parts":1}\n\n'
