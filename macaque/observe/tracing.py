"""Spans of OpenTelemetry for calls and services.

A program that has imported `opentelemetry.trace` before it starts a client or server gets spans; other programs do not
pay for the import. The names are those of OpenTelemetry's semantic conventions 1.44: a call is an RPC, with a CLIENT
and a SERVER span. A one-way message has a PRODUCER and a CONSUMER span. The attributes of messaging are on all four.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from macaque.call import Call
from macaque.context import Request, Work
from macaque.envelope import Fault
from macaque.errors import Cancelled, RemoteError
from macaque.registry import Service
from macaque.traces import Trace, incoming
from mqlight.log import Log, attempt, report

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["Tracing", "tracing"]

log = Log(__name__)

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
SYSTEM = "macaque"
MESSAGING_SYSTEM = "amqp"


class Tracing:
    """Makes the spans of one client or server, with the tracer of OpenTelemetry's global provider.

    The constructor imports OpenTelemetry. `provider` is another provider of tracers. The error of a
    provider is logged, and no call fails for it.
    """

    def __init__(self, client_id: str, provider: TracerProvider | None = None) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._client_id = client_id
        self._context, self._trace = context, trace
        self._tracer = trace.get_tracer("macaque", tracer_provider=provider, schema_url=SCHEMA)
        self._propagator = TraceContextTextMapPropagator()

    # The calling end

    def begin(
        self, topic: str, uuid: str, url: str | None, *, one_way: bool, trace: Trace | None = None
    ) -> tuple[Span | None, Trace | None]:
        """Begin the span of a call or a one-way message. Return it with the trace for the message.

        Args:
            trace: the trace that it continues if the program has no span at the moment.
        """
        try:
            span = self._begin(topic, uuid, url, one_way, trace)
            return span, self._trace_of(span)
        except Exception:
            report(log, self.begin)
            return None, None

    def _begin(self, topic: str, uuid: str, url: str | None, one_way: bool, trace: Trace | None) -> Span:
        parent = None
        if trace is not None and not self._trace.get_current_span().get_span_context().is_valid:
            parent = self._context_of(trace)
        attributes = _attributes(topic, uuid, "send", one_way)
        attributes["messaging.client.id"] = self._client_id
        attributes.update(_server(url))
        kinds = self._trace.SpanKind
        return self._tracer.start_span(
            f"send {topic}" if one_way else topic,
            context=parent,
            kind=kinds.PRODUCER if one_way else kinds.CLIENT,
            attributes=attributes,
        )

    def send(self, span: Span, call: Call, send: Callable[[], None]) -> None:
        """Send the request of a call. Its span ends with the call, or with the error of `send`."""
        # Call.exception does not convert the result, as that of a TypedCall does.
        call._at_end(lambda ended: attempt(log, self._end, span, ended, Call.exception(ended)))
        try:
            send()
        except Exception as error:
            attempt(log, self._end, span, call, error)
            raise

    def _end(self, span: Span, call: Call, error: Exception | None) -> None:
        if isinstance(error, Cancelled):
            span.set_attribute("error.type", "cancelled")
        elif isinstance(error, RemoteError):
            self._failed(span, call._waits_for_reply, error.code, str(error))
        elif error is not None:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(self._trace.StatusCode.ERROR, str(error))
        span.end()

    # The answering end

    def serve(self, service: Service, work: Work) -> None:
        """Begin the span of a request, which is the current one in the Context of the caller from now on."""
        one_way = not work.request.reply_to
        pattern = "+" in service.topic or "#" in service.topic
        attributes = _attributes(service.topic, work.request.uuid, "process", one_way)
        if pattern:
            attributes["messaging.destination.template"] = service.topic
            attributes["messaging.destination.name"] = Request(work).topic
        if service.share_id is not None:
            attributes["messaging.consumer.group.name"] = service.share_id
        attributes["messaging.client.id"] = self._client_id
        kinds = self._trace.SpanKind
        span = self._tracer.start_span(
            f"process {service.topic}" if one_way else service.topic,
            context=self._context_of(incoming(work)),
            kind=kinds.CONSUMER if one_way else kinds.SERVER,
            attributes=attributes,
        )
        self._context.attach(self._trace.set_span_in_context(span))  # the Context ends with the request
        work.span, work.outgoing = span, self._trace_of(span)

    def served(self, work: Work, fault: Fault | None) -> None:
        """End the span of a request, with its error or without one."""
        span: Span = work.span
        work.span = None
        if fault is not None:
            self._failed(span, bool(work.request.reply_to), fault.code, fault.message, fault.type)
        span.end()

    def _failed(self, span: Span, rpc: bool, code: int | str, message: str, kind: str | None = None) -> None:
        if rpc:
            span.set_attribute("rpc.response.status_code", str(code))
        span.set_attribute("error.type", kind or str(code))
        span.set_status(self._trace.StatusCode.ERROR, message)

    def _context_of(self, trace: Trace | None) -> Context:
        """Return the context that continues a trace."""
        return self._propagator.extract(
            {} if trace is None else {"traceparent": trace.parent, "tracestate": trace.state or ""}
        )

    def _trace_of(self, span: Span) -> Trace | None:
        """Return the trace that continues a span; None if there is no tracer."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        return Trace(carrier["traceparent"], carrier.get("tracestate")) if carrier else None


def tracing(client_id: str) -> Tracing | None:
    """Return the maker of the spans of a client or server, None if the program does not use OpenTelemetry."""
    return Tracing(client_id) if "opentelemetry.trace" in sys.modules else None


def _attributes(topic: str, uuid: str, operation: str, one_way: bool) -> dict[str, Any]:
    attributes = {
        "messaging.system": MESSAGING_SYSTEM,
        "messaging.destination.name": topic,
        "messaging.message.id": uuid,
        "messaging.message.conversation_id": uuid,
    }
    if one_way:
        return {**attributes, "messaging.operation.name": operation, "messaging.operation.type": operation}
    return {**attributes, "rpc.system.name": SYSTEM, "rpc.method": topic}


@lru_cache(maxsize=64)
def _server(url: str | None) -> dict[str, Any]:
    parts = urlsplit(url or "")
    if not parts.hostname:
        return {}
    return {"server.address": parts.hostname, **({} if parts.port is None else {"server.port": parts.port})}
