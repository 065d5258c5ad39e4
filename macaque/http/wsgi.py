"""Services as an application of WSGI (PEP 3333).

The rules of this file:

* A request takes a thread of the HTTP server until its answer. A stream takes it until its end.
* The kind of the first reply decides whether the answer is JSON or a stream of events. So a client need not know in
  advance which services stream.
* A server learns that a caller is gone when it writes, and then calls `close` of the body. So a quiet stream has
  heartbeats, and `close` ends the generator of the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from macaque.call import Call
from macaque.errors import MacaqueError
from macaque.http import events
from macaque.http.answer import Answer, Header, Problem, accepted, allowed, problem_of, result
from macaque.http.request import Head, Known, Limits, Wanted, check_method, methods, topic_of, wanted
from macaque.http.sending import Services, ended, notify, send, stream, trace_header
from macaque.mailbox import Empty
from macaque.stream import Stream, Streaming
from mqlight.log import Log

__all__ = ["Wsgi"]

log = Log(__name__)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

CHUNK = 64 * 1024
"""Bytes of a body that are read at a time."""


class Wsgi:
    """An application of WSGI that calls services.

    Args:
        services: the services, and the client that calls them.
        limits: the limits of requests.
        on_call: called with the environment and the call of a request, before the wait for its first reply.
    """

    def __init__(
        self,
        services: Services,
        limits: Limits | None = None,
        on_call: Callable[[Environ, Call[Any]], object] = lambda environ, call: None,
    ) -> None:
        self._services = services
        self._limits = limits or Limits()
        self._on_call = on_call

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            found = self._answer(environ)
        except MacaqueError as error:
            found = problem_of(error).answer
        except Exception:
            log.exception("a request over HTTP failed: %s", environ.get("PATH_INFO"))
            found = Problem(500, "The request failed.").answer
        if isinstance(found, Answer):
            start_response(found.line, list(found.headers))
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [found.body]
        start_response("200 OK", [*events.HEADERS, *found.headers])
        if environ["REQUEST_METHOD"] == "HEAD":
            found.close()
            return []
        return found

    def _answer(self, environ: Environ) -> Answer | Events:
        head = _head(environ)
        head = replace(head, topic=self._services.at(head.topic))
        known = self._services.find(head.topic)
        check_method(head, known)
        if head.method == "OPTIONS":
            return allowed(methods(known))
        request = wanted(head, _body(environ, self._limits.body), known, self._limits)
        client = self._services.client()
        if request.one_way:
            notice = notify(client, request)
            _result(notice)
            return accepted(notice.uuid).with_headers(trace_header(notice, request))
        if known is not None and not known.streams:
            call = send(client, request)
            self._on_call(environ, call)
            return result(_result(call)).with_headers(trace_header(call, request))
        call, parts = stream(client, request)
        self._on_call(environ, call)
        return self._first(call, parts, request, known)

    def _first(self, call: Streaming, parts: Stream[Any], request: Wanted, known: Known | None) -> Answer | Events:
        """Wait for the first reply."""
        header = trace_header(call, request)
        first: list[Any] = []
        over = False
        try:
            while not first and not over:
                try:
                    first.append(parts._next_within(events.PAUSE))
                except Empty:
                    if known is not None and known.streams:
                        break
                except StopIteration:
                    over = True
        except MacaqueError as error:
            raise ended(call, error) from error
        except BaseException:
            parts.close()
            raise
        if call.plain:
            return result(first[0]).with_headers(header)
        return Events(call, parts, first, (header,))


class Events:
    """The body of a stream. The server iterates over it, and calls `close` at the end or when the caller is gone.

    Args:
        first: the parts that were taken before.
        headers: headers of the answer.
    """

    def __init__(self, call: Streaming, parts: Stream[Any], first: list[Any], headers: tuple[Header, ...]) -> None:
        self.headers = headers
        self._call = call
        self._parts = parts
        self._first = first
        self._number = 0
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        try:
            data = self._first.pop() if self._first else self._parts._next_within(events.PAUSE)
        except Empty:
            return events.HEARTBEAT
        except StopIteration:
            self._over = True
            return events.end(self._number)
        except MacaqueError as error:
            self._over = True
            return events.failed(ended(self._call, error))
        self._number += 1
        return events.part(self._number - 1, data)

    def close(self) -> None:
        """End the generator of the service."""
        self._over = True
        self._parts.close()


def _result(call: Call[Any]) -> Any:
    """Wait for the result of a call. Raises Problem."""
    try:
        return call.result()
    except MacaqueError as error:
        raise ended(call, error) from error
    except BaseException:  # the server ends the request, by a timeout of gevent for example
        call.cancel()
        raise


def _head(environ: Environ) -> Head:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    # Bytes as latin-1 (PEP 3333), but Bottle gives the applications that it mounts the decoded path.
    path = environ.get("PATH_INFO", "").encode("utf-8" if "bottle.raw_path" in environ else "latin-1")
    return Head(environ["REQUEST_METHOD"], topic_of(path), environ.get("QUERY_STRING", ""), headers)


def _body(environ: Environ, most: int) -> bytes:
    """Read the body. Raises Problem: it is too large, or shorter than its Content-Length."""
    told = environ.get("CONTENT_LENGTH") or ""
    if not told and not environ.get("wsgi.input_terminated"):
        if environ.get("HTTP_TRANSFER_ENCODING"):
            raise Problem(411, "This server needs the Content-Length of a body.")
        return b""
    if told and not (told.isascii() and told.isdigit()):
        raise Problem(400, f"The Content-Length {told[:40]!r} is no number of bytes.")
    too_large = Problem(413, f"The body is larger than {most} bytes.")
    if told and (len(told) > 18 or int(told) > most):
        raise too_large
    wanted = int(told) if told else most + 1
    body = _read(environ["wsgi.input"], wanted)
    if told and len(body) < wanted:
        raise Problem(400, f"The body has {len(body)} of {wanted} bytes.")
    if len(body) > most:
        raise too_large
    return body


def _read(stream: Any, wanted: int) -> bytes:
    """Read `wanted` bytes, or what there is. Raises Problem: the server cannot read them."""
    body = bytearray()
    while len(body) < wanted:
        try:
            chunk = stream.read(min(CHUNK, wanted - len(body)))
        except MacaqueError:
            raise
        except Exception as error:  # each server has errors of its own
            raise Problem(400, "The body is malformed, or ends early.") from error
        if not chunk:
            break
        body += chunk
    return bytes(body)
