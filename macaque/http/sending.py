"""The way of a request of HTTP into a client, and of its end into an answer, for every kind of server.

Each of these functions raises Problem if the request cannot be answered with a result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from macaque.call import Call
from macaque.client import Client
from macaque.errors import MacaqueError
from macaque.http.answer import Header, Problem, problem_of
from macaque.http.request import Known, Wanted
from macaque.stream import WINDOW, Stream, Streaming
from mqlight.amqp.text import trace_id_of

__all__ = ["Services", "ended", "notify", "send", "stream", "trace_header"]


_LENGTH = 55
"""Characters of a `traceparent` of version 00. A later version may add more, of any kind."""


class Services(Protocol):
    """The services that are reached over HTTP, and the client that calls them."""

    def client(self) -> Client:
        """Return the client. Raises MacaqueError: it cannot be started."""

    def at(self, path: str) -> str:
        """Return the topic at a path, which has no slash at its begin: the path, or a topic that begins with one."""

    def find(self, topic: str) -> Known | None:
        """Return what is known of the service at a topic, for example its `ServiceInfo`; None if nothing is known.

        Raises:
            Problem: there is no such service, or the caller may not call it.
        """


def send(client: Client, wanted: Wanted) -> Call[Any]:
    """Call a service that does not stream."""
    call: Call[Any] = _sent(client, Call, wanted)
    return call


def stream(client: Client, wanted: Wanted) -> tuple[Streaming, Stream[Any]]:
    """Call a service that may stream."""
    call = _sent(client, Streaming, wanted, window=WINDOW)
    return call, Stream(client._calls.streams, call, client._connection, None)


def notify(client: Client, wanted: Wanted) -> Call[None]:
    """Send a one-way message."""
    with _explained(wanted):
        return client._notify(wanted.topic, wanted.data, None, wanted.timeout, wanted.uuid, wanted.trace)


def _sent(client: Client, make: Any, wanted: Wanted, **options: Any) -> Any:
    with _explained(wanted):
        return client._call(
            make, wanted.topic, wanted.data, None, wanted.timeout, None, wanted.uuid, trace=wanted.trace, **options
        )


@contextmanager
def _explained(wanted: Wanted) -> Iterator[None]:
    """Raise Problem for the two faults that a request may have here: it was read without an error before."""
    try:
        yield
    except TypeError as error:
        raise Problem(400, "The data is nested too deeply.") from error
    except ValueError as error:
        said = f"The request with the Idempotency-Key {wanted.uuid!r} is not finished yet."
        raise Problem(409, said, retryable=True) from error


def ended(call: Call[Any], error: MacaqueError) -> Problem:
    """Return the problem of a call that has ended in an error."""
    return problem_of(error, begun=call._accepted)


def trace_header(call: Call[Any], wanted: Wanted) -> Header:
    """Return the header that names the trace of a request: the caller's, or one that follows from the uuid."""
    if wanted.trace is not None:
        return "traceparent", wanted.trace.parent[:_LENGTH]
    number = trace_id_of(call.uuid)
    return "traceparent", f"00-{number}-{number[16:]}-00"
