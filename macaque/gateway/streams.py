"""The streams of events that callers hold: each takes a place, and ends with its caller, its token or the gateway."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

import msgspec

from macaque.gateway.places import Places
from macaque.gateway.subscriptions import Listener
from macaque.http import events
from macaque.http.answer import Problem

__all__ = ["Heard", "Held", "Streams", "is_events"]


class Source(Protocol):
    """The body of an answer with events. `close` may be called while another thread waits for the next event."""

    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...


class Heard:
    """The messages of a listener as events.

    Args:
        leave: forgets the listener.
    """

    def __init__(self, listener: Listener, leave: Callable[[], object]) -> None:
        self._listener = listener
        self._leave = leave
        self._number = -1
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        if self._number < 0:  # the caller learns that it listens
            self._number = 0
            return events.HEARTBEAT
        try:
            message = self._listener.get(events.PAUSE)
        except queue.Empty:
            return events.HEARTBEAT
        if isinstance(message, bytes):
            self._number += 1
            return events.part(self._number - 1, msgspec.Raw(message))
        self._over = True
        return events.end(self._number) if message is None else events.failed(message)

    def close(self) -> None:
        self._listener.end()
        self._leave()


class Held:
    """A stream that has a place.

    Args:
        source: the events.
        is_valid: whether the caller may still hear them.
    """

    def __init__(self, source: Source, is_valid: Callable[[], bool]) -> None:
        self._source = source
        self._is_valid = is_valid
        self._on_close: list[Callable[[], object]] = []
        self._problem: Problem | None = None
        self._over = self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        event = next(self._source, None)
        if self._problem is None and not self._is_valid():
            self.end(Problem(401, "The token is no longer valid."))
        if self._problem is not None:
            self._over = True
            return events.failed(self._problem)
        if event is None:
            self._over = True
            raise StopIteration
        return event

    def on_close(self, function: Callable[[], object]) -> None:
        """Call a function when the stream is over. Call this before the server has the stream."""
        self._on_close.append(function)

    def end(self, problem: Problem) -> None:
        """Let the stream end with a problem, from any thread."""
        if self._problem is None:
            self._problem = problem
            self._source.close()

    def close(self) -> None:
        """End the stream. The server calls this when the answer has been sent, or cannot be sent."""
        self._over = True
        if not self._closed:
            self._closed = True
            try:
                self._source.close()
            finally:
                for function in self._on_close:
                    function()


class Streams:
    """The streams of a worker process, at most `number` of them."""

    def __init__(self, number: int) -> None:
        self._places = Places(number, "streams")
        self._held: set[Held] = set()
        self._ended: Problem | None = None

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, source: Source, is_valid: Callable[[], bool]) -> Held:
        """Return a stream that has a place. Raises Problem 503 if none is free; the source is closed then."""
        try:
            self._places.take()
        except Problem:
            source.close()
            raise
        held = Held(source, is_valid)
        held.on_close(partial(self._forget, held))
        self._held.add(held)
        if self._ended is not None:
            held.end(self._ended)
        return held

    def end(self, problem: Problem) -> None:
        """Let all streams end with a problem, also those that begin later."""
        self._ended = problem
        for held in list(self._held):
            held.end(problem)

    def _forget(self, held: Held) -> None:
        self._held.discard(held)
        self._places.free()


def is_events(headers: Iterable[tuple[str, str]]) -> bool:
    """Return whether the headers of an answer announce events."""
    return any(name.lower() == "content-type" and value == "text/event-stream" for name, value in headers)
