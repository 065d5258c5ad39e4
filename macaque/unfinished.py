"""The requests of one service whose functions have returned something that is still to be run.

The rules of this file:

* A coroutine and an async generator run in the server's event loop, which must not block. Whatever may block goes to
  the desk. A generator runs, and is closed, in one thread.
* A request whose caller no longer waits is stopped, and is settled without a reply.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from macaque.cancels import Cancels
from macaque.desk import Desk
from macaque.envelope import Fault
from macaque.faults import CANCELLED, INTERRUPTED
from macaque.invocation import Failure, Invoker, Later
from macaque.job import Job
from macaque.kinds import Kind
from macaque.loop import Loop
from macaque.parts import Discarded, Inbox, Parts
from macaque.replies import NOTHING

__all__ = ["Unfinished"]

STOPPED = Fault(CANCELLED, "the function was stopped before it began", None, None, True)


class Unfinished:
    """See the module.

    Args:
        desk: runs the steps that may block.
        ended: called with a request and its encoded result or Failure.
    """

    def __init__(
        self,
        invoker: Invoker,
        loop: Loop,
        cancels: Cancels,
        inbox: Inbox,
        desk: Desk,
        ended: Callable[[Job, Any], None],
    ) -> None:
        self._invoker = invoker
        self._loop = loop
        self._cancels = cancels
        self._inbox = inbox
        self._desk = desk
        self._ended = ended

    def listen(self, streams: bool) -> None:
        """Hear of cancelled requests, and if the service `streams`, of the grants of its streams."""
        self._cancels.listen()
        if streams:
            self._inbox.listen()

    def begin(self, job: Job, later: Later) -> None:
        """Run the result of the function."""
        if not later.kind.streams:
            self._start(job, later, partial(self._invoker.finish, job, later))
            return
        if (fault := self._unfit(job)) is not None:
            if later.kind is Kind.GENERATOR:
                later.result.close()
            self._ended(job, Failure(fault))
            return
        sink = self._inbox.open(job) if job.request.reply_to else Discarded(NOTHING)
        if later.kind is Kind.ASYNC_GENERATOR:
            iterate = partial(self._invoker.iterate_in_loop, job, later, sink)
            self._start(job, later, partial(_within, sink, iterate) if isinstance(sink, Parts) else iterate, sink)
            if isinstance(sink, Parts):
                sink.on_stop = job.cancel
                if job.unwanted:
                    sink.stop()
            return
        job.cancel = sink.stop
        self._cancels.begin(job.request, sink.stop)
        result = later.context.run(self._invoker.iterate, job, later, sink)
        self._cancels.end(job.request)
        self._inbox.close(sink)
        self._ended(job, result)

    def _start(self, job: Job, later: Later, make: Callable[[], Coroutine[Any, Any, Any]], sink: Any = None) -> None:
        self._cancels.begin(job.request, partial(self.stop, job))
        job.cancel = self._loop.start(make, later.context, partial(self._desk.step, job, self._awaited, later, sink))
        if job.unwanted:
            job.cancel()

    def _unfit(self, job: Job) -> Fault | None:
        """Return the reason why the reply to a request cannot be a stream, or None."""
        request, topic = job.request, self._invoker.topic
        if not request.reply_to:
            return None
        if request.window is None:
            return Fault(400, f"{topic} streams its replies: call it with client.stream()", "StreamedReply")
        if job.key is not None:
            return Fault(500, f"{topic} streams its replies, which idempotent_for does not remember", "StreamedReply")
        if job.count:
            said = f"the worker of {topic} that streamed the replies is gone, and parts may be missing"
            return Fault(INTERRUPTED, said, None, None, True)
        return None

    def stop(self, job: Job) -> None:
        """Stop a function, because its caller no longer waits. May run under the connection's lock."""
        job.unwanted = True
        if job.cancel is not None:
            job.cancel()

    def _awaited(self, job: Job, later: Later, sink: Parts | Discarded | None, result: Any) -> None:
        """Pass the result of a coroutine on. Runs in the loop."""
        self._cancels.end(job.request)
        if result is None and inspect.iscoroutine(later.result):
            later.result.close()  # it was cancelled before it began
        if sink is not None:
            self._inbox.close(sink)
        if type(result) is bytes and not job.unwanted:
            self._ended(job, result)
        else:
            self._desk.submit(job, self._ended, result or Failure(STOPPED))


async def _within(parts: Parts, iterate: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Await `iterate()`, which is stopped at the deadline of its stream, or when its server leaves."""
    import asyncio  # slow, and here it is imported already

    loop = asyncio.get_running_loop()
    timer = loop.call_later(max(0.0, parts.left()), parts.stop)

    def on_leave(seconds: float) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(loop.call_later, seconds, parts.interrupt)

    parts.watch(on_leave)
    try:
        return await iterate()
    finally:
        timer.cancel()
