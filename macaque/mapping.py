"""The results of many calls of one service: `client.map`.

The rules of this file:

* Items are taken from the input only as results are taken, so the input may be infinite.
* Every item has one outcome: the result of its call or its error.
* At most `window` calls are in flight. If the results come in the order of the items, as many more wait for their turn.
* All that is not delivered when the results are closed is cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

from macaque.call import GRACE, Call
from macaque.mailbox import Empty, Home, Mailbox
from macaque.transport import Transport

__all__ = ["Results"]

T = TypeVar("T")


class Results(Generic[T]):
    """The results of `client.map`: an iterator, an asynchronous iterator, and a context manager of either kind.

    One thread or one task iterates at a time. Leaving the `with` block, or `close`, cancels the calls that are in
    flight, and does not wait for them.
    """

    def __init__(
        self,
        home: Home,
        transport: Transport,
        send: Callable[[int, Any], Call[T]],
        items: Iterable[Any],
        ordered: bool,
        window: int,
        return_exceptions: bool,
    ) -> None:
        self._transport = transport
        self._send = send
        self._items = iter(items)
        self._ordered = ordered
        self._window = window
        self._return_exceptions = return_exceptions
        self._count = 0
        self._failure: BaseException | None = None
        self._exhausted = self._closed = False
        self._in_flight = 0
        self._held: dict[Call[T], None] = {}
        """The calls without a delivered result, in the order of their items."""
        self._ended: Mailbox[Call[T]] = Mailbox(home)
        self._ready: deque[Call[T]] = deque()
        """If the order does not matter: calls that have ended."""

    def __iter__(self) -> Results[T]:
        return self

    def __next__(self) -> T:
        while True:
            call = self._next()
            if call is not None:
                return self._outcome(call)
            if not self._held:
                self._end()
                raise StopIteration
            oldest = next(iter(self._held))
            try:
                self._note(self._ended.get(oldest.deadline - self._transport.now() + GRACE))
            except Empty:
                oldest.exception()  # ends it, because the connection's clock is late

    def __aiter__(self) -> Results[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            call = self._next()
            if call is not None:
                return self._outcome(call)
            if not self._held:
                self._end()
                raise StopAsyncIteration
            self._note(await self._ended.wait())

    def __enter__(self) -> Results[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Results[T]:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        held = getattr(self, "_held", None)
        if held:
            # Later, because a destructor may run in the middle of anything, and to cancel takes locks.
            self._transport.run_soon(partial(_cancel, list(held)))

    def close(self) -> None:
        """Cancel the calls that are in flight, without waiting for them. The iteration ends. Harmless if it has."""
        self._closed = self._exhausted = True
        held, self._held = list(self._held), {}
        self._ready.clear()
        if held:
            with self._transport.batch():
                _cancel(held)

    def _next(self) -> Call[T] | None:
        """Send calls for as many items as there is room for. Return a call whose outcome is next, if it has ended."""
        if self._closed:
            return None
        try:
            while True:
                self._note(self._ended.get_nowait())
        except Empty:
            pass
        if self._has_room():
            with self._transport.batch():
                while self._has_room():
                    self._take_item()
        if self._ordered:
            oldest = next(iter(self._held), None)
            call = oldest if oldest is not None and oldest.done() else None
        else:
            call = self._ready.popleft() if self._ready else None
        if call is not None:
            del self._held[call]
        return call

    def _has_room(self) -> bool:
        return not self._exhausted and self._in_flight < self._window and len(self._held) < 2 * self._window

    def _take_item(self) -> None:
        try:
            item = next(self._items)
        except StopIteration:
            self._exhausted = True
            return
        except BaseException as error:  # raised after the results of the items before
            self._exhausted, self._failure = True, error
            return
        call = self._send(self._count, item)
        self._count += 1
        self._held[call] = None
        self._in_flight += 1
        if not call._at_end(self._ended.put):
            self._ended.put(call)

    def _note(self, call: Call[T]) -> None:
        """Take note of a call that has ended."""
        self._in_flight -= 1
        if not self._ordered and call in self._held:
            self._ready.append(call)

    def _outcome(self, call: Call[T]) -> T:
        if self._return_exceptions and (error := call.exception()) is not None:
            return error  # type: ignore[return-value]  # the overloads of `map` tell of it
        return call.result()

    def _end(self) -> None:
        """Raise the error of the input, if there is one."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def _cancel(calls: Iterable[Call]) -> None:
    for call in calls:
        call.cancel()
