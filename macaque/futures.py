"""A call as a `concurrent.futures.Future`."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from macaque.call import Call

__all__ = ["CallFuture"]


class CallFuture(Future[Any]):
    """A future that ends as a call does. Only `settle` ends it, which runs once, so no state is set twice."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    def cancel(self) -> bool:
        """Cancel the call. Return False if it has ended in another way."""
        return super().cancel() if self._call.cancel() or self._call.cancelled() else False

    def settle(self, call: Call) -> None:
        """Take the end of the call. The future's own callbacks run here."""
        if call.cancelled():
            super().cancel()
        if self.set_running_or_notify_cancel():
            error = call.exception()
            if error is None:
                self.set_result(call.result())
            else:
                self.set_exception(error)
