"""The run of a service's function on a request.

The rules of this file:

* The code here knows nothing of AMQP.
* Every exception of the function becomes a Failure.
* Each run has a Context of its own, in which `macaque.context.current` is the request.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, NamedTuple, Protocol

import msgspec

from macaque.context import Request, Work, current
from macaque.envelope import Fault
from macaque.envelope import Request as Envelope
from macaque.errors import Abort
from macaque.faults import CANCELLED, fault_of, wanted_exit
from macaque.hooks import Pipeline, Reply
from macaque.kinds import Kind, kind_of_result
from macaque.observe.tracing import Tracing
from macaque.registry import Service
from mqlight.amqp.text import printable
from mqlight.log import Log, attempt

__all__ = ["Encode", "Failure", "Invoker", "Later", "Over", "Sink"]

log = Log("macaque.worker", BaseException)

Encode = Callable[[Envelope, Any], Any]
"""`encode(request, result)` returns the result in the form in which it is sent. It may raise."""


class Failure(NamedTuple):
    """A run of the function without a result."""

    fault: Fault
    exit: SystemExit | None = None
    """The exit that the function asked for, if it did."""
    undecodable: bool = False
    """Whether the data of the request could not be decoded, so that the function was not called."""


class Later:
    """A run that goes on: the result of the function is an awaitable or a generator, which nothing has run yet."""

    context: Context
    """The Context of the request, in which the result must be run."""

    def __init__(self, result: Any, encode: Encode) -> None:
        self.kind = kind_of_result(result)
        self.result = result
        self.encode = encode


class Over(BaseException):
    """The consumer of a stream does not want its next part."""


class Sink(Protocol):
    """Takes the parts of a stream. `wait` raises Over if the consumer does not want the next one.

    `cause` returns the error that the consumer gets for an error of the generator.
    """

    def wait(self) -> None: ...
    async def wait_in_loop(self) -> None: ...
    def send(self, data: object) -> None: ...
    def cause(self, error: BaseException) -> BaseException: ...
    def end(self, request: Envelope, data: object) -> Any: ...


_END: Any = object()


class _Undecodable(Abort):
    """The data of the request is no JSON."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class Invoker:
    """Runs the function of one service. It is the `home` of the requests that it runs.

    Args:
        service: its annotations are resolved.
        debug: whether faults carry a traceback, and results are checked by the annotation.
        clock: returns the time, in seconds of the monotonic clock.
        about_to_wait: called with a topic when the function is about to wait for the service there.
        topic_of: returns the topic in the `to` of a message.
        tracing: makes the spans of requests.
    """

    def __init__(
        self,
        service: Service,
        *,
        debug: bool,
        clock: Callable[[], float],
        about_to_wait: Callable[[str], None],
        topic_of: Callable[[str], str],
        tracing: Tracing | None = None,
    ) -> None:
        self.topic = service.topic
        self.share = service.share_id
        self.clock = clock
        self.about_to_wait = about_to_wait
        self.topic_of = topic_of
        self._service = service
        self._tracing = tracing
        self._debug = debug
        self._hooks = Pipeline(service.hooks) if any(service.hooks) else None
        codec = service.codec
        self._decode, self._convert = codec.decode, codec.convert
        self._call = _with_request(service.function) if codec.wants_request else service.function
        self._plain = service.kind is Kind.PLAIN
        self._check = codec.check if debug and codec.returns is not None else _unchecked
        if self._check is not _unchecked and self._plain:
            self._call = _checked(self._call, codec.check)

    def run(self, work: Work, encode: Encode) -> Any:
        """Call the function with the data of a request. Return `encode(request, result)`, a Failure or Later."""
        work.home = self
        context = copy_context()
        if self._tracing is not None:
            attempt(log, context.run, self._tracing.serve, self._service, work)
        result = context.run(self._run if self._hooks is None else self._run_hooked, work, encode)
        if type(result) is Later:
            result.context = context
        return result

    def served(self, work: Work, failure: Failure | None) -> None:
        """End the span of a request, if it has one."""
        if self._tracing is not None:
            attempt(log, self._tracing.served, work, None if failure is None else failure.fault)

    async def finish(self, work: Work, later: Later) -> Any:
        """Await the result of the function. Return what `run` returns, except Later."""
        hooks, failure = self._hooks, None
        try:
            try:
                result = await later.result
                self._check(result)
                if hooks is None:
                    return later.encode(work.request, result)
            except Exception as error:
                if hooks is None:
                    raise
                result = hooks.handle(error)
        except BaseException as error:
            result, failure = None, self._stopped(work, error)
        return failure if hooks is None else self._end(work, later.encode, hooks, result, failure)

    def iterate(self, work: Work, later: Later, sink: Sink) -> Any:
        """Send what a generator yields. Return its encoded end, or a Failure. The generator is closed in any case."""
        generator, failure = later.result, None
        try:
            try:
                while True:
                    sink.wait()
                    part = next(generator, _END)
                    if part is _END:
                        break
                    self._check(part)
                    sink.send(part)
            finally:
                generator.close()
        except BaseException as error:
            failure = self._stopped(work, error)
        return self._ended(work, sink, failure)

    async def iterate_in_loop(self, work: Work, later: Later, sink: Sink) -> Any:
        """Send what an async generator yields. Return as `iterate` does."""
        generator, failure = later.result, None
        try:
            try:
                while True:
                    await sink.wait_in_loop()
                    part = await anext(generator, _END)
                    if part is _END:
                        break
                    self._check(part)
                    sink.send(part)
            finally:
                await generator.aclose()
        except BaseException as error:
            failure = self._stopped(work, sink.cause(error))
        return self._ended(work, sink, failure)

    def _ended(self, work: Work, sink: Sink, failure: Failure | None) -> Any:
        hooks = self._hooks
        if hooks is not None:
            return self._end(work, sink.end, hooks, None, failure)
        return sink.end(work.request, None) if failure is None else failure

    def _run(self, work: Work, encode: Encode) -> Any:
        current.set(work)
        request = work.request
        try:
            result = self._call(self._data(request))
            if self._plain:
                try:
                    return encode(request, result)
                except TypeError:
                    if kind_of_result(result) is Kind.PLAIN:
                        raise
            return Later(result, encode)
        except BaseException as error:
            return self._failure(work, error)

    def _run_hooked(self, work: Work, encode: Encode) -> Any:
        current.set(work)
        assert self._hooks is not None
        try:
            try:
                result = self._hooks.begin()
                if result is None:
                    result = self._call(self._data(work.request))
            except Exception as error:
                result = self._hooks.handle(error)
        except BaseException as error:
            return self._end(work, encode, self._hooks, None, self._failure(work, error))
        if kind_of_result(result) is not Kind.PLAIN:
            return Later(result, encode)
        return self._end(work, encode, self._hooks, result, None)

    def _end(self, work: Work, encode: Encode, hooks: Pipeline, result: Any, failure: Failure | None) -> Any:
        """Run the hooks after the function, and return what `run` returns."""
        try:
            before = None if failure is None else failure.fault.exception()
            reply = hooks.end(Reply(result, before))
            if reply.error is None:
                return encode(work.request, reply.data)
            if failure is None or reply.error is not before:
                return Failure(Fault.of(reply.error))
            return failure
        except BaseException as error:
            return self._failure(work, error)

    def _data(self, request: Envelope) -> Any:
        """Return the data for the function."""
        data = request.raw
        if type(data) is msgspec.Raw:
            try:
                return self._decode(data)
            except (ValueError, RecursionError) as error:
                raise _Undecodable(f"The data of the request cannot be decoded: {error}.") from error
        return data if self._convert is None else self._convert(data)

    def _stopped(self, work: Work, error: BaseException) -> Failure:
        """Return the failure for the exception that is being handled, which may be that of a stop."""
        if isinstance(error, Over):
            work.unwanted = True
        if not work.unwanted:
            return self._failure(work, error)
        return Failure(Fault(CANCELLED, "the function was stopped, because its caller no longer waits", retryable=True))

    def _failure(self, work: Work, error: BaseException) -> Failure:
        """Return the failure for the exception that is being handled, and log it."""
        if type(error) is _Undecodable:
            return Failure(Fault(400, error.message, "BadRequest"), undecodable=True)
        failure = Failure(fault_of(error, self._debug), wanted_exit(error))
        self._log(work, failure.fault)
        return failure

    def _log(self, work: Work, fault: Fault) -> None:
        """Log the exception that is being handled: an abort on one line, and a traceback only for the first attempt."""
        request = work.request
        source = request.source or request.reply_to
        if fault.type is None:
            log.info(
                "%s aborted the request %s from %s: %s (code %s)",
                self.topic, request.uuid, source, printable(fault.message), fault.code,
            )  # fmt: skip
        elif request.reply_to or not work.count:
            log.exception("%s failed on the request %s from %s", self.topic, request.uuid, source)


def _with_request(function: Callable[..., Any]) -> Callable[[Any], Any]:
    def call(data: Any) -> Any:
        work = current.get()
        assert work is not None
        return function(data, Request(work))

    return call


def _unchecked(result: object) -> None:
    pass


def _checked(call: Callable[[Any], Any], check: Callable[[object], None]) -> Callable[[Any], Any]:
    def checked(data: Any) -> Any:
        result = call(data)
        if kind_of_result(result) is Kind.PLAIN:  # else it is checked when it has ended
            check(result)
        return result

    return checked
