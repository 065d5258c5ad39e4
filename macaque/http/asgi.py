"""Services as an application of ASGI (version 3).

The rules of this file:

* A request takes no thread: its call is awaited. Functions of services still run in threads, as many as have credit.
* A caller that goes away cancels its call, or ends the generator of its stream.
* The kind of the first reply decides whether the answer is JSON or a stream of events, as for WSGI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from macaque.aio import in_thread
from macaque.call import Call
from macaque.errors import MacaqueError
from macaque.http import events
from macaque.http.answer import Answer, Header, Problem, accepted, allowed, problem_of, result
from macaque.http.request import Head, Known, Limits, Wanted, check_method, methods, topic_of, wanted
from macaque.http.sending import Services, ended, notify, send, stream, trace_header
from macaque.stream import Stream, Streaming
from mqlight.log import Log

__all__ = ["Asgi"]

log = Log(__name__)

GONE = Problem(503, "The caller is gone.").answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Gone(Exception):
    """The caller has gone away."""


class Asgi:
    """An application of ASGI that calls services.

    Args:
        services: the services, and the client that calls them.
        limits: the limits of requests.
        close: called when the server ends the application, on a thread of its own.
    """

    def __init__(
        self, services: Services, limits: Limits | None = None, *, close: Callable[[], object] = lambda: None
    ) -> None:
        self._services = services
        self._limits = limits or Limits()
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            with suppress(Gone):
                await self._serve(scope, receive, _Reply(scope, send))
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        else:
            raise ValueError(f"The scope {scope['type']!r} is none of http, lifespan and websocket.")

    async def _live(self, receive: Receive, send: Send) -> None:
        """Begin with the server, so that a wrong setting ends its start, and end with it."""
        await receive()
        try:
            self._services.client()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await in_thread(self._close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        try:
            head = _head(scope)
            head = replace(head, topic=self._services.at(head.topic))
            known = self._services.find(head.topic)
            check_method(head, known)
            if head.method == "OPTIONS":
                await reply.answer(allowed(methods(known)))
                return
            body = await _body(head, receive, self._limits)
            request = wanted(head, body, known, self._limits)
            await _unless_gone(receive, self._call(request, known, reply))
        except Gone:
            if not reply.begun:  # nobody reads it, but a middleware may wait for it
                await reply.answer(GONE)
        except MacaqueError as error:
            await reply.answer(problem_of(error).answer)
        except Exception:
            log.exception("a request over HTTP failed: %s", scope["path"])
            if reply.begun:
                raise
            await reply.answer(Problem(500, "The request failed.").answer)

    async def _call(self, request: Wanted, known: Known | None, reply: _Reply) -> None:
        client = self._services.client()
        if request.one_way:
            notice = notify(client, request)
            await _result(notice)
            await reply.answer(accepted(notice.uuid).with_headers(trace_header(notice, request)))
        elif known is not None and not known.streams:
            call = send(client, request)
            await reply.answer(result(await _result(call)).with_headers(trace_header(call, request)))
        else:
            call, parts = stream(client, request)
            async with parts:
                await self._pass_on(call, parts, request, known, reply)

    async def _pass_on(
        self, call: Streaming, parts: Stream[Any], request: Wanted, known: Known | None, reply: _Reply
    ) -> None:
        """Pass the parts of a stream on, or the one result of a service that does not stream."""
        headers, number = (*events.HEADERS, trace_header(call, request)), 0
        while True:
            upcoming = asyncio.ensure_future(_next(parts))
            upcoming.add_done_callback(lambda each: each.cancelled() or each.exception())  # it counts as seen
            try:
                while not (await asyncio.wait({upcoming}, timeout=events.PAUSE))[0]:
                    if reply.begun or known is not None and known.streams:
                        await reply.begin(200, headers)
                        await reply.more(events.HEARTBEAT)
                found = upcoming.result()
            except MacaqueError as error:
                if not reply.begun:
                    raise ended(call, error) from error
                await reply.end(events.failed(ended(call, error)))
                return
            finally:
                upcoming.cancel()
            if call.plain and found:
                await reply.answer(result(found[0]).with_headers(headers[-1]))
                return
            await reply.begin(200, headers)
            if not found:
                await reply.end(events.end(number))
                return
            await reply.more(events.part(number, found[0]))
            number += 1


class _Reply:
    """The answer to one request, on its way to the server."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.begun = False
        """Whether the head was sent."""
        self._head_only = scope.get("method") == "HEAD"
        self._send = send

    async def answer(self, answer: Answer) -> None:
        await self.begin(answer.status, answer.headers)
        await self.end(answer.body)

    async def begin(self, status: int, headers: tuple[Header, ...]) -> None:
        """Send the head, the first time."""
        if self.begun:
            return
        self.begun = True
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._put({"type": "http.response.start", "status": status, "headers": encoded})

    async def more(self, body: bytes) -> None:
        """Send a piece of the body. Raises Gone: nobody wants it."""
        if self._head_only:
            await self.end(b"")
            raise Gone
        await self._put({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes) -> None:
        await self._put({"type": "http.response.body", "body": b"" if self._head_only else body})

    async def _put(self, message: MutableMapping[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError as error:
            raise Gone from error


async def _next(parts: Stream[Any]) -> list[Any]:
    """Return the next part in a list, which is empty at the end."""
    try:
        return [await parts.__anext__()]
    except StopAsyncIteration:
        return []


async def _result(call: Call[Any]) -> Any:
    """Await the result of a call. Raises Problem."""
    try:
        return await call
    except MacaqueError as error:
        raise ended(call, error) from error


async def _unless_gone(receive: Receive, work: Any) -> None:
    """Await a coroutine, but cancel it if the caller goes away."""

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.ensure_future(work), asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise Gone
        tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _head(scope: Scope) -> Head:
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    if "\ufffd" in path:  # the server has put it where bytes are no UTF-8
        raise Problem(400, "The path is not text in UTF-8.")
    topic = topic_of(path.encode("utf-8", "surrogateescape"))
    return Head(scope["method"], topic, scope.get("query_string", b"").decode("latin-1"), headers)


async def _body(head: Head, receive: Receive, limits: Limits) -> bytes:
    """Read the body. Raises Problem: it is too large or too slow; Gone: the caller went away before its end."""
    told = head.headers.get("content-length", "0")
    if not (told.isascii() and told.isdigit()):
        raise Problem(400, f"The Content-Length {told[:40]!r} is no number of bytes.")
    too_large = Problem(413, f"The body is larger than {limits.body} bytes.")
    if len(told) > 18 or int(told) > limits.body:
        raise too_large
    body = bytearray()
    deadline = asyncio.get_running_loop().time() + limits.timeout
    more = True
    while more:
        try:
            left = deadline - asyncio.get_running_loop().time()
            message = await asyncio.wait_for(receive(), left)
        except asyncio.TimeoutError as error:
            raise Problem(408, f"The body did not arrive within {limits.timeout:g} s.") from error
        if message["type"] == "http.disconnect":
            raise Gone
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limits.body:
            raise too_large
    return bytes(body)
