"""The requests of one service that their callers have cancelled.

The rules of this file:

* A request that has not begun is not run, if its cancel message is here before it. A request that can be stopped is.
* A repeated request has the uuid of the first one, and another time at which it expires. It is not cancelled.
* Memory is bounded. A service that may not subscribe to cancel messages works without them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from macaque.control import BadControl, cancel_topic, decode_control
from macaque.envelope import Request
from macaque.job import Job
from macaque.transport import Transport
from mqlight.delivery import Delivery
from mqlight.log import Log

__all__ = ["MOST", "Cancels"]

log = Log("macaque.worker", BaseException)

MOST = 4096
"""The most cancelled requests that are remembered."""
CREDIT = 1000

Key = tuple[str, "float | None"]


class Cancels:
    """The cancelled requests to a topic, or to a pattern of topics. `listen` subscribes to their messages."""

    def __init__(self, transport: Transport, topic: str) -> None:
        self.unwanted: dict[Key, None] = {}
        """Cancelled requests that have not begun here, the oldest first."""
        self._lock = threading.Lock()
        self._running: dict[Key, Callable[[], object]] = {}
        self._topic = cancel_topic(topic)
        self._transport = transport
        self._listens = False

    def listen(self) -> None:
        """Subscribe to the cancel messages, the first time.

        A broker may end the session of a client that has no permission for it, so this comes after the services.
        """
        with self._lock:
            listens, self._listens = self._listens, True
        if not listens:
            self._transport.subscribe(
                self._topic, credit=CREDIT, on_delivery=self._on_delivery, on_subscribed=self._on_subscribed
            )

    def drop(self, job: Job) -> bool:
        """Settle a request that is about to begin, if it was cancelled. Return whether it was."""
        request = job.request
        with self._lock:
            unwanted = self.unwanted.pop((request.uuid, request.expires), self) is None
        if unwanted:
            log.debug("dropped the request %s, because its caller has cancelled it", request.uuid)
            job.settle()
        return unwanted

    def begin(self, request: Request, cancel: Callable[[], object]) -> None:
        """Take note that a request has begun. Until `end`, its cancel message calls `cancel()`."""
        with self._lock:
            self._running[request.uuid, request.expires] = cancel

    def end(self, request: Request) -> None:
        """Take note that a request has ended."""
        with self._lock:
            self._running.pop((request.uuid, request.expires), None)

    def _on_delivery(self, delivery: Delivery) -> None:
        """Take a cancel message. Runs under the connection's lock."""
        try:
            control = decode_control(delivery.message)
        except BadControl as error:
            delivery.reject("amqp:decode-error", str(error))
            return
        delivery.accept()
        key = control.uuid, control.expires
        with self._lock:
            cancel = self._running.pop(key, None)
            if cancel is None:
                self.unwanted[key] = None
                if len(self.unwanted) > MOST:
                    del self.unwanted[next(iter(self.unwanted))]
        if cancel is not None:
            cancel()

    def _on_subscribed(self, error: Exception | None) -> None:
        if error is not None:
            log.info("cancelled requests are run, because the broker refuses to send %s: %s", self._topic, error)
