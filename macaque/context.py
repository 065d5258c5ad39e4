"""The request that a service's function works on: the function's second parameter, and `macaque.request`.

The rules of this file:

* Each request has a `contextvars.Context` of its own, in which its function runs. `current` has the request there.
* A Request reads its message only when it is asked, because most functions need only their data.
* A call that a function makes has at most the time that is left of the function's request.

Pure: the time comes from the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Protocol, cast

from macaque import envelope
from macaque.errors import Timeout
from macaque.traces import Trace, incoming, trace_id
from mqlight.amqp.message import Message, MessageError, decode

__all__ = ["Home", "Request", "Work", "current", "detached", "request", "within"]

REPLIES = "response/"
"""The topics of clients for their replies begin with this; the client id follows."""


class Home(Protocol):
    """The service that works on a request."""

    topic: str
    """The topic of the service, or its pattern."""
    share: str | None
    clock: Callable[[], float]
    """Return the time, in seconds of the monotonic clock."""
    about_to_wait: Callable[[str], None]
    """Note that the function is about to wait for the service at a topic."""
    topic_of: Callable[[str], str]
    """Return the topic in the `to` of a message."""


class Work(Protocol):
    """A request in work."""

    home: Home
    request: envelope.Request
    count: int
    """The number of earlier attempts, all of which failed."""
    deadline: float | None
    """The time until which the caller waits; None if the caller did not set it."""
    outgoing: Trace | None
    """The trace for the calls that the request makes, once one was made."""
    unwanted: bool
    """Whether the caller has cancelled the request, or its time is over."""
    span: Any
    """The span of OpenTelemetry; None without one."""

    @property
    def message(self) -> bytes:
        """The AMQP message of the request."""


current: ContextVar[Work | None] = ContextVar("macaque.current", default=None)
"""The request that this thread or task works on."""


class _Detached:
    """A request without its deadline."""

    deadline: float | None = None
    unwanted = False

    def __init__(self, work: Work) -> None:
        self.home, self.request, self.count, self.message = work.home, work.request, work.count, work.message
        self.outgoing, self.span = work.outgoing, work.span


@contextmanager
def detached() -> Iterator[None]:
    """Make calls in this block as if the caller of the service had set no deadline: `with macaque.detached():`.

    A call that a service makes has at most the time that is left of its request, because the caller does not wait
    longer. Use this block for a call that needs its own timeout. It does nothing outside of a service.
    """
    work = current.get()
    token = current.set(None if work is None else _Detached(work))
    try:
        yield
    finally:
        current.reset(token)


def within(work: Work, seconds: float, topic: str) -> float:
    """Return the timeout of a call to `topic` in a request: `seconds`, or what is left of the request.

    Raises:
        Timeout: nothing is left.
    """
    if work.deadline is None:
        return seconds
    left = work.deadline - work.home.clock()
    if left <= 0:
        said = f"The time of the request to {work.home.topic!r} is over, so {topic!r} is not called."
        raise Timeout(said, topic=topic, timeout=0.0)
    return min(seconds, left)


class Request:
    """The request that a service's function works on. Annotate the function's second parameter with this class.

    A Request does not change. Use it only while the function runs.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def __repr__(self) -> str:
        return f"<macaque.Request {self.uuid} to {self.topic!r}>"

    @property
    def uuid(self) -> str:
        """The id of the call. A repeated call may have the id of the first one."""
        return self._work.request.uuid

    @property
    def data(self) -> Any:
        """The data, decoded as for a function without annotations. Raises ValueError if it cannot be decoded."""
        return self._work.request.data

    @cached_property
    def topic(self) -> str:
        """The topic to which the request was sent. It matches the pattern of the service."""
        home = self._work.home
        return home.topic if self._message.to is None else home.topic_of(self._message.to)

    @property
    def share(self) -> str | None:
        """The share_id of the service."""
        return self._work.home.share

    @property
    def source(self) -> str | None:
        """The client id of the sender; None if the sender did not tell it."""
        request = self._work.request
        if request.source or not request.reply_to:
            return request.source
        return request.reply_to.removeprefix(REPLIES)

    @property
    def sent_at(self) -> float | None:
        """The time at which the request was sent, in seconds since 1970 by the sender's clock; None if unknown."""
        sent = self._work.request.sent_at
        return None if sent is None else sent / 1000

    @property
    def seq(self) -> int | None:
        """The number of the item, from 0, in the caller's `client.map`; None for other calls."""
        return self._work.request.seq

    @property
    def deadline(self) -> float | None:
        """The time until which the caller waits, in seconds of `time.monotonic()`; None if it has set no deadline."""
        return self._work.deadline

    def remaining(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without a deadline."""
        work = self._work
        return None if work.deadline is None else max(0.0, work.deadline - work.home.clock())

    @property
    def attempt(self) -> int:
        """The number of this attempt: 1 unless earlier attempts have failed."""
        return self._work.count + 1

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """The application properties of the AMQP message (section 3.2.5)."""
        return dict(self._message.properties or {})

    @property
    def trace(self) -> str | None:
        """The `traceparent` that came with the request (W3C Trace Context); None if the sender has no trace."""
        found = incoming(self._work)
        return None if found is None else found.parent

    @property
    def trace_id(self) -> str:
        """The id of the trace, 32 hexadecimal digits: that of `trace`, or one that follows from the uuid."""
        return trace_id(self._work)

    @cached_property
    def _message(self) -> Message:
        try:
            return decode(self._work.message)
        except MessageError:
            return Message()


class _Current:
    """Stands for the current Request. It has the same attributes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request(), name)

    def __repr__(self) -> str:
        return "<macaque.request>" if current.get() is None else repr(self._request())

    @staticmethod
    def _request() -> Request:
        work = current.get()
        if work is None:
            raise RuntimeError("macaque.request exists only while a service works on a request, in its own thread.")
        return Request(work)


request = cast(Request, _Current())
"""The request that the calling function works on. Its attributes raise RuntimeError elsewhere."""
