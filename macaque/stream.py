"""The parts of streams of replies, on the side of the caller: `client.stream`.

The rules of this file:

* Parts are given out in their order, each once. A missing part, or a missing end, raises StreamBroken.
* Parts that were not taken wait here. The service may send no more than the window, which moves as parts are taken.
* A stream has one producer: the first one whose part comes. Others, of a second share for example, are cancelled.
"""

from __future__ import annotations

import sys
from typing import Any, Generic, Protocol, TypeVar

from macaque.call import GRACE, Call, misfit
from macaque.control import encode_cancel, encode_grant
from macaque.envelope import Reply
from macaque.errors import ConnectionLost, RemoteError, StreamBroken, refusal
from macaque.faults import INTERRUPTED
from macaque.mailbox import Empty, Mailbox
from macaque.pending import Pending
from macaque.transport import Lane, Transport
from macaque.typed import Type
from mqlight.amqp.types import Condition, Outcome
from mqlight.errors import NoRoomError, StoppedError

__all__ = ["WINDOW", "Stream", "Streaming", "Streams"]

WINDOW = 32
"""Parts that the service may send before the consumer has taken one."""

UNWANTED = 60.0
"""Seconds in which a message to the control topic of a stream is of use."""

T = TypeVar("T")


class Streaming(Call[None]):
    """The call of a stream. It ends with the stream."""

    __slots__ = ("_control", "parts", "plain", "received", "unwanted")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.parts: Mailbox[Any] = Mailbox(self._home)
        """The data of the parts, and None after the end, each in a tuple."""
        self.received = 0
        self.plain = False
        """Whether the service has answered with one result, because it does not stream."""
        self.unwanted = False
        self._control = ""
        """The topic of the producer for grants and cancellation, empty while it is not known."""

    def _on_reply(self, data: Any, error: Exception | None) -> bool:
        """Take a reply that is no part: an error, or the one result of a service that does not stream."""
        if error is None:
            self.plain = True
            self.parts.put((data,))
        self._end(None, error)
        return True

    def on_part(self, reply: Reply, error: Exception | None) -> bool:
        """Take a part, or the end. Return whether the stream has ended."""
        seq = reply.seq or 0
        if reply.control is not None:
            self._control = reply.control
        if seq < self.received and reply.more:
            return False  # a part that was sent again
        if seq != self.received:
            said = f"The stream from {self.topic!r} is broken: part {self.received} is missing before number {seq}."
            self._end(None, StreamBroken(said, topic=self.topic, received=self.received))
            return True
        if not reply.more:
            self._end(None, error)
            return True
        self.received += 1
        self.parts.put((reply.data,))
        return False

    def _end(self, data: Any, error: Exception | None) -> None:
        if isinstance(error, RemoteError) and error.code == INTERRUPTED:
            said = f"The stream from {self.topic!r} is broken after {self.received} parts: {error.message}."
            error = StreamBroken(said, topic=self.topic, received=self.received)
        super()._end(None, error)
        self.parts.put(None)


class Home(Protocol):
    """The calls of the client."""

    def now(self) -> float: ...
    def end(self, call: Call, data: Any, error: Exception | None) -> None: ...
    def ended(self, call: Call, data: Any, error: Exception | None) -> None: ...
    def lost(self, error: Exception | None) -> ConnectionLost: ...
    def cancel(self, call: Call) -> bool: ...


class Streams:
    """The streams of one client of which a part has come.

    Args:
        aside: the lane for messages that cannot be sent at once.
    """

    def __init__(self, home: Home, transport: Transport, aside: Lane) -> None:
        self.open: Pending[Call] = Pending(sys.maxsize)
        self._home = home
        self._transport = transport
        self._aside = aside

    def on_part(self, call: Streaming, reply: Reply, error: Exception | None) -> None:
        """Take a part for a call that was taken out of its store. Runs under the transport's lock."""
        if call._control and reply.control not in (None, call._control):
            other = str(reply.control)
            self._aside.submit(self._send, other, encode_cancel(call.uuid, other, None, UNWANTED))
        elif call.on_part(reply, error):
            self._home.ended(call, None, call.exception())
            return
        self.open.add(call)
        if call.unwanted:  # it was cancelled while it was in no store
            self._aside.submit(self._home.cancel, call)

    def grant(self, call: Streaming, up_to: int) -> None:
        """Allow the producer so many parts. Does not block a running event loop."""
        topic = call._control
        if topic and not call.done():
            message = encode_grant(call.uuid, topic, up_to, call.deadline - self._home.now())

            def on_outcome(outcome: Outcome, condition: Condition | None) -> None:
                if outcome is not Outcome.ACCEPTED and self.open.take(call):
                    self._home.end(call, None, self._refused(call, outcome, condition))

            self._send(topic, message, on_outcome)

    def leave(self, call: Streaming) -> None:
        """Tell the producer of a broken stream to stop."""
        if call._control:
            self._send(call._control, encode_cancel(call.uuid, call._control, None, UNWANTED))

    def _send(self, topic: str, message: bytes, on_outcome: Any = None, timeout: float = 0.0) -> None:
        try:
            self._transport.publish(topic, message, mandatory=True, on_outcome=on_outcome, timeout=timeout)
        except NoRoomError:
            if not timeout:
                self._aside.submit(self._send, topic, message, on_outcome, UNWANTED)
        except StoppedError:
            pass  # the stream ends with the client

    def _refused(self, call: Streaming, outcome: Outcome, condition: Condition | None) -> Exception:
        if outcome is Outcome.RELEASED and condition is not None:
            return self._home.lost(self._transport.error)
        if outcome is Outcome.RELEASED:
            said = f"The stream from {call.topic!r} is broken: its worker is gone after {call.received} parts."
            return StreamBroken(said, topic=call.topic, received=call.received)
        return refusal(*(condition or ("amqp:modified", "it gave the grant back")))


class Stream(Generic[T]):
    """The parts of `client.stream`: an iterator, an asynchronous iterator, and a context manager of either kind.

    One thread or one task iterates at a time. Leaving the `with` block, or `close`, ends the generator of the service.
    An error of the service is raised after the parts before it.
    """

    def __init__(self, streams: Streams, call: Streaming, transport: Transport, wanted: Type | None) -> None:
        self._streams = streams
        self._call = call
        self._transport = transport
        self._type = wanted
        self._taken = 0
        self._over = False

    def __repr__(self) -> str:
        return f"<Stream {self._call.uuid} of {self._call.topic!r}: {self._taken} parts taken>"

    def __iter__(self) -> Stream[T]:
        return self

    def __next__(self) -> T:
        call = self._call
        while not self._over:
            try:
                return self._take(call.parts.get(call.deadline - self._transport.now() + GRACE))
            except Empty:
                call.exception()  # ends it, because the connection's clock is late
        raise StopIteration

    def _next_within(self, seconds: float) -> T:
        """Return the next part as the iterator does. Raises Empty if none has come within `seconds`."""
        call = self._call
        left = call.deadline - self._transport.now() + GRACE
        if self._over or left <= seconds:
            return self.__next__()
        return self._take(call.parts.get(seconds))

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        if self._over:
            raise StopAsyncIteration
        try:
            return self._take(await self._call.parts.wait())
        except StopIteration:
            raise StopAsyncIteration from None

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Stream[T]:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        call = getattr(self, "_call", None)
        if call is not None and not call.done():
            # Later, because a destructor may run in the middle of anything, and to cancel takes locks.
            self._transport.run_soon(call.cancel)

    def close(self) -> None:
        """End the stream, and the generator of the service, without waiting for it. Harmless if it has ended."""
        self._over = True
        self._call.cancel()

    def _take(self, part: tuple[Any] | None) -> T:
        if part is None:
            self._over = True
            if isinstance(self._call.exception(), StreamBroken):
                self._streams.leave(self._call)
            self._call.result()  # raises the error
            raise StopIteration
        self._taken += 1
        if self._taken % (WINDOW // 2) == 0:
            self._streams.grant(self._call, self._taken + WINDOW)
        data: Any = part[0]
        if self._type is None:
            return data  # type: ignore[no-any-return]
        try:
            return self._type.from_plain(data)  # type: ignore[no-any-return]
        except ValueError as wrong:
            raise misfit(self._type, wrong, "part", self._call.topic) from None
