"""The way of a message from its subscription to the application, and of the answer back to the server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import get_ident
from time import monotonic

from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.delivery import Delivery, hand_over
from mqlight.log import Log, report
from mqlight.net.crew import Lane
from mqlight.outlet import Outlet
from mqlight.state import Status
from mqlight.subscription import Subscription

__all__ = ["Receiver"]

log = Log(__name__)


class Receiver:
    """Makes a delivery of each message, and is the :class:`mqlight.delivery.Origin` of the deliveries.

    A delivery may outlive the fork of a process. So the receiver stays the same, and :meth:`use` renews its lock.
    """

    _lock: threading.RLock
    _status: Status
    _outlet: Outlet

    def use(self, lock: threading.RLock, status: Status, outlet: Outlet) -> None:
        """Use the connection's lock, the threads that wait for answers, and the outlet for the answers."""
        self._lock, self._status, self._outlet = lock, status, outlet

    def hand_on(
        self, lane: Lane | None, on_delivery: Callable[[Delivery], object]
    ) -> Callable[[Link, Handle, bytes, bool], bool]:
        """Return the function that makes deliveries and hands them to ``on_delivery``, in a lane if there is one.

        It returns True if the message is accepted now.
        """

        def on_message(link: Link, handle: Handle, data: bytes, settled: bool) -> bool:
            delivery = Delivery(self, link.context, link, handle, data, settled)
            if lane is not None:
                lane.submit(hand_over, delivery, on_delivery)
                return False
            try:
                return on_delivery(delivery) is True and delivery.let_go()
            except BaseException:  # otherwise the thread that reads for all subscriptions fails
                delivery.fail()
                report(log, on_delivery)
                return False

        return on_message

    def begin(self, delivery: Delivery) -> None:
        """Mark a delivery as begun: see :class:`mqlight.delivery.Origin`."""
        with self._lock:
            if delivery.link.mark_received(delivery.handle):
                self._outlet.flush()

    def settle(self, delivery: Delivery, outcome: Outcome | None, condition: Condition | None) -> bool:
        """Settle a delivery: see :class:`mqlight.delivery.Origin`."""
        with self._lock:
            done = delivery.subscription.settle(delivery.link, delivery.handle, outcome, condition)
            if self._status.waiters:
                self._status.notify()
            if self._outlet.crew.reader != get_ident():
                self._outlet.flush_soon()
        return done

    def drain(self, subscription: Subscription, timeout: float) -> bool:
        """Let the server use up the credit of a subscription: see :meth:`mqlight.connection.Connection.drain`."""
        self._outlet.before_blocking()
        deadline = monotonic() + timeout
        with self._lock:
            subscription.pause()
            self._outlet.flush()
            while subscription.granted and (now := monotonic()) < deadline:
                # In short waits, because a server that has used up the credit may not answer.
                self._status.wait(lambda: not subscription.granted, min(deadline, now + 0.05))
            return subscription.link is not None and not subscription.granted
