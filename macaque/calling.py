"""The requests of a client: each checks its arguments, makes a call and its message, and sends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from random import getrandbits
from typing import Any, TypeVar, overload

from macaque.arguments import checked_seconds, checked_uuid
from macaque.call import Call, Notice, TypedCall
from macaque.calls import Calls
from macaque.context import current, within
from macaque.envelope import encode_notice, encode_request
from macaque.traces import Trace, outgoing
from macaque.transport import Transport
from macaque.typed import type_of
from mqlight.amqp.topics import validate_topic

__all__ = ["Calling"]

C = TypeVar("C", bound=Call[Any])
T = TypeVar("T")

KNOWN_TOPICS = 4096


class Calling:
    """The part of a client that makes calls. `macaque.Client` adds the connection and its life."""

    client_id: str
    _timeout: float
    _reply_to: str
    _prefix: str
    """The first 24 characters of the uuids of this client."""
    _numbers: Iterator[int]
    _topics: set[str]
    """Topics that were checked before."""
    _calls: Calls
    _connection: Transport

    def _prepare(self) -> None:
        """Start the client if it is not started. Raises ConnectionLost if it cannot call."""
        raise NotImplementedError

    @overload
    def call(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        uuid: str | None = None,
        returns: None = None,
    ) -> Call[Any]: ...

    @overload
    def call(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[T], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        uuid: str | None = None,
        returns: type[T],
    ) -> Call[T]: ...

    @overload
    def call(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        uuid: str | None = None,
        returns: object,
    ) -> Call[Any]: ...

    def call(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        uuid: str | None = None,
        returns: object = None,
    ) -> Call[Any]:
        """Send a request to the service at a topic, and return at once. Wait for the result with `.result()`.

        Args:
            endpoint: the topic.
            data: any value that JSON can carry.
            callback: called with the data of the reply, one callback at a time. The process stays alive for it, and
                `exit()` in it ends the process.
            timeout: seconds; None means the client's timeout. In a service's function, a call has at most the time that
                is left of the request, unless it is made in `with macaque.detached():`.
            on_error: called with the error, if there is a callback and the call has no result. Without it the error
                is logged.
            uuid: the id of this call; None makes one. To repeat a failed call, give its `uuid`: a service with
                `idempotent_for` then returns the first result for that time, and does not run again.
            returns: the type to which the result is converted, such as a dataclass; None: plain JSON. If the result
                does not fit, the call ends in RemoteError with code "misfit".

        Returns:
            The call, which ends with the data or in RemoteError, NoResponders, Timeout, ConnectionLost or Cancelled.

        Raises:
            TypeError, ValueError: an argument is invalid; the sentence names it.
            Timeout, ConnectionLost: there was no room to send it for `timeout` seconds, or the client was closed. In a
                running event loop it does not wait for room: the call is sent when there is room.
        """
        make = Call if returns is None else partial(TypedCall, type_of(returns))
        return self._call(make, endpoint, data, callback, timeout, on_error, uuid)

    def notify(
        self, topic: str, data: Any, ttl: float | None = None, *, timeout: float | None = None, uuid: str | None = None
    ) -> Call[None]:
        """Send a one-way message to the service at `topic`, and return at once.

        The message is sent at least once. If the function of the service raises, the message is tried again, after
        longer and longer pauses.

        Args:
            topic: the topic of the service.
            data: any value that JSON can carry.
            ttl: seconds after which the message is discarded; None: the broker keeps it as long as it can.
            timeout: seconds in which the broker must accept the message; None means the client's timeout.
            uuid: the id of the message; None makes one.

        Returns:
            A call that ends with None when the broker has accepted the message. It ends in NoResponders if no service
            is subscribed; the message is lost. It ends in Timeout or ConnectionLost if the broker has not accepted it
            in time; the broker may accept it later. It ends in RemoteError if the broker refuses it.

        Raises:
            TypeError, ValueError: an argument is invalid; the sentence names it.
            Timeout, ConnectionLost: there was no room to send it for `timeout` seconds, or the client was closed.
        """
        return self._notify(topic, data, ttl, timeout, uuid)

    def batch(self) -> AbstractContextManager[None]:
        """Send the calls that this thread makes in the block together: `with client.batch():`.

        A burst of calls costs less this way. At most 100 calls are held back, until the end of the block, or until the
        thread waits for one of them. Other threads send at once as usual.
        """
        return self._connection.batch()

    def _call(
        self,
        make: Callable[..., C],
        topic: str,
        data: Any,
        callback: Callable[[Any], object] | None,
        timeout: float | None,
        on_error: Callable[[Exception], object] | None,
        uuid: str | None,
        *,
        seq: int | None = None,
        window: int | None = None,
        trace: Trace | None = None,
    ) -> C:
        """Make a call with `make`, and send its request. The rest is as for `call` and `encode_request`.

        Args:
            trace: the trace that it continues outside of a service.
        """
        calls = self._calls
        if not calls.open:
            self._prepare()
        if type(topic) is not str or topic not in self._topics:
            self._check_topic(topic)
        owing = callback is not None or on_error is not None
        if owing:
            calls.callbacks.check(callback, on_error)
        seconds = self._timeout if timeout is None else checked_seconds(timeout)
        work = current.get()
        if work is not None:
            seconds, trace = within(work, seconds, topic), outgoing(work, getrandbits)
        number = f"{self._prefix}{next(self._numbers):012x}" if uuid is None else checked_uuid(uuid)
        span = None
        if calls.tracing is not None:
            span, trace = self._span(topic, number, trace)
        began = calls.wall()
        message = encode_request(
            number, topic, data, self._reply_to, now=began, timeout=seconds,
            source=None if seq is None else self.client_id, seq=seq, trace=trace, window=window,
        )  # fmt: skip
        call = make(calls, number, topic, seconds, calls.now() + seconds, callback, on_error)
        call._began = began
        try:
            if owing:
                calls.callbacks.owe(call)
            self._send(call, message, span)
        except BaseException:
            if not call.done() and not calls.holds(call):  # a signal's handler has raised before it was in flight
                calls.returned(call)
            raise
        return call

    def _notify(
        self,
        topic: str,
        data: Any,
        ttl: float | None,
        timeout: float | None,
        uuid: str | None,
        trace: Trace | None = None,
    ) -> Call[None]:
        """Send a one-way message. `trace` is the one that it continues outside of a service."""
        calls = self._calls
        if not calls.open:
            self._prepare()
        if type(topic) is not str or topic not in self._topics:
            self._check_topic(topic)
        life = None if ttl is None else checked_seconds(ttl, "ttl")
        seconds = self._timeout if timeout is None else checked_seconds(timeout)
        number = f"{self._prefix}{next(self._numbers):012x}" if uuid is None else checked_uuid(uuid)
        work = current.get()
        if work is not None:
            trace = outgoing(work, getrandbits)
        span = None
        if calls.tracing is not None:
            span, trace = self._span(topic, number, trace, one_way=True)
        message = encode_notice(number, topic, data, self.client_id, now=calls.wall(), ttl=life, trace=trace)
        notice = Notice(calls, number, topic, seconds, calls.now() + seconds, None, None)
        self._send(notice, message, span)
        return notice

    def _span(self, topic: str, uuid: str, trace: Trace | None, *, one_way: bool = False) -> tuple[Any, Trace | None]:
        """Begin the span of a request. Return it with the trace for the message."""
        calls = self._calls
        assert calls.tracing is not None
        span, own = calls.tracing.begin(topic, uuid, calls.transport.url, one_way=one_way, trace=trace)
        return span, own or trace

    def _send(self, call: Call, message: bytes, span: Any) -> None:
        calls = self._calls
        if span is None:
            calls.send(call, message, self)
        elif calls.tracing is not None:
            calls.tracing.send(span, call, partial(calls.send, call, message, self))

    def _check_topic(self, topic: object) -> None:
        """Check a topic, and add it to those that are known to be right."""
        if not isinstance(topic, str):
            raise TypeError(f"The topic {topic!r} is not a str; give the topic of a service.")
        validate_topic(topic)
        if len(self._topics) >= KNOWN_TOPICS:
            self._topics.clear()
        self._topics.add(topic)
