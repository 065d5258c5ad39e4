"""The spans of calls and services, with an exporter in memory."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import error_attributes, messaging_attributes, rpc_attributes
from opentelemetry.trace import SpanKind, StatusCode
from werkzeug.test import Client

import macaque
import macaque.client
import macaque.server
from macaque.observe.tracing import Tracing
from mqlight.amqp.message import Message, encode
from processes import Server, wait_until
from transports import Network

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def ended(self, name: str, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if (span.name, span.kind) == (name, kind)]

    def named(self, name: str, kind: SpanKind) -> ReadableSpan:
        (found,) = self.ended(name, kind)
        return found


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(macaque.Client, "_connect", staticmethod(network.connect))
    monkeypatch.setattr(macaque.Server, "_connect", staticmethod(network.connect))
    return network


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    spans = Spans()
    for module in (macaque.client, macaque.server):
        monkeypatch.setattr(module, "tracing", lambda client_id: Tracing(client_id, spans.provider))
    return spans


@pytest.fixture
def client(network: Network, spans: Spans) -> Iterator[macaque.Client]:
    with macaque.Client("amqp://memory", cid="caller") as client:
        yield client


@pytest.fixture
def app(network: Network, spans: Spans) -> Iterator[macaque.Server]:
    app = macaque.Server("amqp://memory", cid="worker")
    yield app
    app.close()


def ids(span: ReadableSpan) -> tuple[int, int, int | None]:
    """The ids of the trace, the span, and its parent."""
    assert span.context is not None
    return span.context.trace_id, span.context.span_id, None if span.parent is None else span.parent.span_id


def test_a_call_has_a_client_and_a_server_span_of_one_trace(
    spans: Spans, app: macaque.Server, client: macaque.Client
) -> None:
    app.service("echo", share_id="workers")(lambda data: data)
    app.start()
    with spans.tracer.start_as_current_span("program"):
        call = client.call("echo", 1)
        assert call.result() == 1
    program = spans.named("program", SpanKind.INTERNAL)
    asked, served = spans.named("echo", SpanKind.CLIENT), spans.named("echo", SpanKind.SERVER)
    assert ids(asked)[0] == ids(served)[0] == ids(program)[0]
    assert (ids(asked)[2], ids(served)[2]) == (ids(program)[1], ids(asked)[1])
    both = {
        "messaging.system": "amqp", "messaging.destination.name": "echo", "messaging.message.id": call.uuid,
        "messaging.message.conversation_id": call.uuid, "rpc.system.name": "macaque", "rpc.method": "echo",
    }  # fmt: skip
    assert asked.attributes == {**both, "messaging.client.id": "caller"}
    worker = {"messaging.client.id": "worker", "messaging.consumer.group.name": "workers"}
    assert served.attributes == {**both, **worker}
    assert asked.status.status_code is served.status.status_code is StatusCode.UNSET


def test_calls_of_a_service_are_inside_its_span(spans: Spans, app: macaque.Server, client: macaque.Client) -> None:
    inside: list[Any] = []

    @app.service("outer")
    def outer(data: Any) -> None:
        inside.append((macaque.request.trace_id, trace.get_current_span().get_span_context().span_id))
        client.call("inner", data).result()

    app.service("inner")(lambda data: data)
    app.start()
    client.call("outer", None).result()
    served, asked = spans.named("outer", SpanKind.SERVER), spans.named("inner", SpanKind.CLIENT)
    assert inside == [(f"{ids(served)[0]:032x}", ids(served)[1])]
    assert ids(asked)[2] == ids(served)[1]
    assert len({ids(span)[0] for span in spans.exporter.get_finished_spans()}) == 1
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_one_way_message_has_a_producer_and_a_consumer_span(
    network: Network, spans: Spans, app: macaque.Server, client: macaque.Client
) -> None:
    app.service("news")(lambda data: None)
    app.start()
    client.notify("news", 1).result()
    network.run()
    sent, processed = spans.named("send news", SpanKind.PRODUCER), spans.named("process news", SpanKind.CONSUMER)
    assert ids(processed)[2] == ids(sent)[1]
    for span, operation in ((sent, "send"), (processed, "process")):
        assert span.attributes is not None and "rpc.method" not in span.attributes
        assert span.attributes["messaging.operation.name"] == span.attributes["messaging.operation.type"] == operation


def test_the_span_of_a_pattern_has_its_name_and_the_topic_as_an_attribute(
    spans: Spans, app: macaque.Server, client: macaque.Client
) -> None:
    app.service("shop/+/paid")(lambda data: data)
    app.start()
    client.call("shop/7/paid", 1).result()
    served = spans.named("shop/+/paid", SpanKind.SERVER)
    assert served.attributes is not None
    assert served.attributes["messaging.destination.template"] == "shop/+/paid"
    assert served.attributes["messaging.destination.name"] == "shop/7/paid"


@pytest.mark.parametrize(
    "function, error, code, said",
    [
        (lambda data: {}[data], "KeyError", "500", "1"),
        (lambda data: macaque.abort(404, "no such task"), "404", "404", "no such task"),
    ],
)
def test_an_error_is_the_status_of_both_spans(
    spans: Spans, app: macaque.Server, client: macaque.Client, function: Any, error: str, code: str, said: str
) -> None:
    app.service("fails")(function)
    app.start()
    raised = client.call("fails", 1).exception()
    asked, served = spans.named("fails", SpanKind.CLIENT), spans.named("fails", SpanKind.SERVER)
    assert asked.attributes is not None and served.attributes is not None
    assert served.attributes["error.type"] == error
    assert asked.attributes["rpc.response.status_code"] == served.attributes["rpc.response.status_code"] == code
    assert (served.status.status_code, served.status.description) == (StatusCode.ERROR, said)
    assert (asked.status.status_code, asked.status.description) == (StatusCode.ERROR, str(raised))


def test_calls_that_end_without_a_reply_have_the_class_of_their_error(
    network: Network, spans: Spans, client: macaque.Client
) -> None:
    client.call("nobody", 1).exception()
    client.gather("nobodies", 1).exception()
    list(client.map("none", [1], return_exceptions=True))
    cancelled = client.call("cancelled", 1)
    cancelled.cancel()
    client.close()
    types = {name: "NoResponders" for name in ("nobody", "nobodies", "none")} | {"cancelled": "cancelled"}
    for name, kind in types.items():
        attributes = spans.named(name, SpanKind.CLIENT).attributes
        assert attributes is not None and attributes["error.type"] == kind


def test_a_request_that_came_with_a_trace_continues_it(network: Network, spans: Spans, app: macaque.Server) -> None:
    app.service("echo")(lambda data: data)
    app.start()
    body = '{"uuid": "u-1", "data": 1, "replyTo": "response/me"}'
    network.send("echo", encode(Message(body=body, properties={"traceparent": PARENT})), None)
    network.run()
    found = ids(spans.named("echo", SpanKind.SERVER))
    assert (f"{found[0]:032x}", f"{found[2]:016x}") == (PARENT[3:35], PARENT[36:52])


def test_a_request_over_http_continues_the_trace_of_its_caller(spans: Spans, app: macaque.Server) -> None:
    """If the web application has a span, that one is the parent."""
    app.service("echo")(lambda data: data)
    http = Client(app.wsgi)
    assert http.post("/echo", json=5, headers={"traceparent": PARENT}).json == 5
    asked, served = spans.named("echo", SpanKind.CLIENT), spans.named("echo", SpanKind.SERVER)
    assert f"{ids(asked)[0]:032x}" == f"{ids(served)[0]:032x}" == PARENT[3:35]
    assert (f"{ids(asked)[2]:016x}", ids(served)[2]) == (PARENT[36:52], ids(asked)[1])
    spans.exporter.clear()
    with spans.tracer.start_as_current_span("page"):
        assert http.post("/echo", json=5, headers={"traceparent": PARENT}).json == 5
    page, asked = spans.named("page", SpanKind.INTERNAL), spans.named("echo", SpanKind.CLIENT)
    assert (ids(asked)[0], ids(asked)[2]) == ids(page)[:2]


def test_a_one_way_message_that_fails_has_no_status_of_an_rpc(
    network: Network, spans: Spans, app: macaque.Server, client: macaque.Client
) -> None:
    app.service("news")(lambda data: macaque.abort(404, "no such task"))
    app.start()
    client.notify("news", 1).result()
    network.run()
    attributes = spans.named("process news", SpanKind.CONSUMER).attributes
    assert attributes is not None and attributes["error.type"] == "404"
    assert "rpc.response.status_code" not in attributes


class Fails(SpanProcessor):
    """A processor that fails at the start or at the end of each span."""

    def __init__(self, at: str) -> None:
        self.at = at

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.at == "start":
            raise RuntimeError("no span today")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("no span today")


@pytest.mark.parametrize("at", ["start", "end"])
def test_a_tracer_that_fails_costs_nobody_a_call(
    spans: Spans, app: macaque.Server, client: macaque.Client, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    spans.provider.add_span_processor(Fails(at))
    app.service("echo")(lambda data: data)
    app.start()
    assert client.call("echo", 1).result() == 1
    assert "no span today" in caplog.text


def test_the_names_are_those_of_the_semantic_conventions() -> None:
    known = {
        value
        for module in (error_attributes, messaging_attributes, rpc_attributes)
        for name, value in vars(module).items()
        if name.isupper()
    }
    source = inspect.getsource(sys.modules[Tracing.__module__])
    used = set(re.findall(r'"((?:rpc|messaging|error)\.[a-z_.]+)"', source))
    assert used and used <= known


def test_a_program_without_opentelemetry_does_not_import_it() -> None:
    program = """
import sys, macaque
from macaque.observe.tracing import tracing
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
assert tracing("me") is None
import opentelemetry.trace
assert tracing("me") is not None
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_async_service_has_its_span_until_its_coroutine_ends(shared_server: Server, spans: Spans) -> None:
    app = macaque.Server(shared_server.url)

    @app.service("traced/later")
    async def later(data: Any) -> Any:
        await asyncio.sleep(0)
        if data is None:
            raise ValueError("nothing")
        return f"{trace.get_current_span().get_span_context().span_id:x}"

    with app, macaque.Client(shared_server.url, timeout=10.0) as client:
        span_id = client.call("traced/later", 1).result()
        served = spans.named("traced/later", SpanKind.SERVER)
        assert int(span_id, 16) == ids(served)[1]
        spans.exporter.clear()
        assert isinstance(client.call("traced/later", None).exception(), macaque.RemoteError)
        assert spans.named("traced/later", SpanKind.SERVER).status.description == "nothing"


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_stream_has_its_spans_until_its_last_part(shared_server: Server, spans: Spans, kind: str) -> None:
    app = macaque.Server(shared_server.url)

    def parts(data: Any) -> Any:
        yield 1
        yield f"{trace.get_current_span().get_span_context().span_id:x}"

    async def parts_in_loop(data: Any) -> Any:
        for part in parts(data):
            yield part

    app.service("traced/parts")(parts if kind == "def" else parts_in_loop)
    with app, macaque.Client(shared_server.url, timeout=10.0) as client:
        with client.stream("traced/parts", None) as stream:
            first, second = stream
        served = wait_until(lambda: spans.ended("traced/parts", SpanKind.SERVER))
        assert ids(served[0])[1] == int(second, 16)
        asked = wait_until(lambda: spans.ended("traced/parts", SpanKind.CLIENT))
        assert ids(served[0])[2] == ids(asked[0])[1]
        assert isinstance(client.call("traced/parts", None).exception(), macaque.RemoteError)
        wait_until(lambda: len(spans.ended("traced/parts", SpanKind.SERVER)) == 2)
