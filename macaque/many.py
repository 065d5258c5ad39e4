"""The requests of a client that have many results: maps, streams, and calls of many services."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, TypeVar, overload

from macaque.arguments import checked_number, checked_seconds
from macaque.call import Call, Gathering, TypedCall
from macaque.calling import Calling
from macaque.errors import RemoteError
from macaque.mapping import Results
from macaque.stream import WINDOW as PARTS
from macaque.stream import Stream, Streaming
from macaque.typed import type_of

__all__ = ["Many"]

WINDOW = 100
"""Default number of calls in flight of a map."""
MAX_WINDOW = 10_000
MAX_REPLIES = 1000
"""The most replies that a gathering takes."""

T = TypeVar("T")


class Many(Calling):
    """The part of a client that makes maps and streams, and gathers replies."""

    @overload
    def map(
        self,
        topic: str,
        items: Iterable[Any],
        *,
        ordered: bool = True,
        window: int = WINDOW,
        return_exceptions: Literal[False] = False,
        timeout: float | None = None,
        returns: type[T],
    ) -> Results[T]: ...

    @overload
    def map(
        self,
        topic: str,
        items: Iterable[Any],
        *,
        ordered: bool = True,
        window: int = WINDOW,
        return_exceptions: Literal[True],
        timeout: float | None = None,
        returns: type[T],
    ) -> Results[T | Exception]: ...

    @overload
    def map(
        self,
        topic: str,
        items: Iterable[Any],
        *,
        ordered: bool = True,
        window: int = WINDOW,
        return_exceptions: bool = False,
        timeout: float | None = None,
        returns: object = None,
    ) -> Results[Any]: ...

    def map(
        self,
        topic: str,
        items: Iterable[Any],
        *,
        ordered: bool = True,
        window: int = WINDOW,
        return_exceptions: bool = False,
        timeout: float | None = None,
        returns: object = None,
    ) -> Results[Any]:
        """Call the service at a topic with each item, many at a time, and iterate over the results.

        Write `with client.map(...) as results:` and `for result in results:`, or the same with `async`. Leaving the
        block cancels the calls that are in flight. Each request has the number of its item as `seq`, and `sentAt` and
        `source`, for services that care about the order of their work.

        Args:
            topic: the topic of the service.
            items: the data of each request. It may be infinite: items are taken as results are taken.
            ordered: whether results come in the order of their items, or as they arrive.
            window: the most calls in flight. With `ordered`, as many results more may wait for their turn.
            return_exceptions: whether the error of a call is returned in the place of its result. Otherwise it is
                raised there, and the iteration can continue after it.
            timeout: seconds that each call has; None means the client's timeout.
            returns: the type to which each result is converted, as for `call`.

        Returns:
            The results. An error of `items` is raised after the results of the items before it.

        Raises:
            TypeError, ValueError, ConnectionLost: as `call` does.
        """
        if not self._calls.open:
            self._prepare()
        self._check_topic(topic)
        seconds = self._timeout if timeout is None else checked_seconds(timeout)
        checked_number(window, "window", 1, MAX_WINDOW, "how many calls are in flight at a time")
        if not isinstance(items, Iterable):
            raise TypeError(f"The items {items!r} are not iterable.")
        make = Call if returns is None else partial(TypedCall, type_of(returns))
        send = partial(self._call_item, make, topic, seconds)
        return Results(self._calls, self._connection, send, items, ordered, window, return_exceptions)

    def _call_item(self, make: Callable[..., Call[Any]], topic: str, seconds: float, number: int, item: Any) -> Call:
        """Call a service with one of many items. An error ends the call, and is not raised."""
        try:
            return self._call(make, topic, item, None, seconds, None, None, seq=number)
        except Exception as error:
            uuid, deadline = f"{self._prefix}{next(self._numbers):012x}", self._calls.now() + seconds
            call = make(self._calls, uuid, topic, seconds, deadline, None, None)
            call._end(None, error)
            return call

    @overload
    def stream(self, topic: str, data: Any, timeout: float | None = None, *, returns: type[T]) -> Stream[T]: ...

    @overload
    def stream(self, topic: str, data: Any, timeout: float | None = None, *, returns: object = None) -> Stream[Any]: ...

    def stream(self, topic: str, data: Any, timeout: float | None = None, *, returns: object = None) -> Stream[Any]:
        """Call a service that is a generator, and iterate over the parts that it yields.

        Write `with client.stream(...) as parts:` and `for part in parts:`, or the same with `async`. Leaving the block
        ends the generator. A service that is no generator gives one part.

        Args:
            topic: the topic of the service.
            data: any value that JSON can carry.
            timeout: seconds for the whole stream; None means the client's timeout.
            returns: the type to which each part is converted, as for `call`.

        Returns:
            The parts. The service sends at most 32 parts that were not taken. An error of the service is raised after
            the parts before it: RemoteError, NoResponders, Timeout, ConnectionLost; StreamBroken if parts are missing.

        Raises:
            TypeError, ValueError, Timeout, ConnectionLost: as `call` does.
        """
        wanted = None if returns is None else type_of(returns)
        call = self._call(Streaming, topic, data, None, timeout, None, None, window=PARTS)
        return Stream(self._calls.streams, call, self._connection, wanted)

    @overload
    def gather(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        replies: int = MAX_REPLIES,
        returns: None = None,
    ) -> Call[list[Any]]: ...

    @overload
    def gather(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[T], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        replies: int = MAX_REPLIES,
        returns: type[T],
    ) -> Call[list[T | RemoteError]]: ...

    @overload
    def gather(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        replies: int = MAX_REPLIES,
        returns: object,
    ) -> Call[list[Any]]: ...

    def gather(
        self,
        endpoint: str,
        data: Any,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
        replies: int = MAX_REPLIES,
        returns: object = None,
    ) -> Call[list[Any]]:
        """Send a request to every service at a topic, and take their replies until the deadline.

        One reply comes from each share, and from each service without a share_id. For example, two kinds of back ends
        with one share_id each send two replies. A request that is delivered again may get a second reply.

        Args:
            endpoint: as for `call`.
            data: as for `call`.
            timeout: as for `call`.
            callback: called with the data of each reply, when it arrives.
            on_error: called with the RemoteError of each error reply, and with the error of the call if there was no
                reply at all. Without it these errors are logged, if there is a callback.
            replies: the number of replies that ends the call.
            returns: the type to which the data of each reply is converted, as for `call`.

        Returns:
            A call whose result is the list of all replies in the order in which they came: data, or a RemoteError for
            an error reply or for data that does not fit `returns`. Without any reply it ends as `call` does, in
            NoResponders, Timeout or ConnectionLost.

        Raises:
            TypeError, ValueError, Timeout, ConnectionLost: as `call` does.
        """
        most = checked_number(replies, "number of replies", 1, MAX_REPLIES, "how many replies are wanted")
        wanted = None if returns is None else type_of(returns)
        return self._call(partial(Gathering, most, wanted), endpoint, data, callback, timeout, on_error, None)
