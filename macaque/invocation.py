"""The run of a service's function on a request.

The rules of this file:

* The code here knows nothing of AMQP.
* Every exception of the function becomes a Failure.
* While the function runs, its service is told of the calls that it waits for (`told_of_waits`).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, NamedTuple

import msgspec

from macaque.cycles import told_of_waits
from macaque.envelope import Fault, Request, decode_data
from macaque.faults import fault_of, wanted_exit
from mqlight.amqp.text import printable
from mqlight.log import Log

__all__ = ["Failure", "Invoker"]

log = Log("macaque.worker", BaseException)


class Failure(NamedTuple):
    """A run of the function without a result."""

    fault: Fault
    exit: SystemExit | None = None
    """The exit that the function asked for, if it did."""
    undecodable: bool = False
    """Whether the data of the request could not be decoded, so that the function was not called."""


class Invoker:
    """Runs the function of one service.

    Args:
        name: the topic of the service, for the log.
        function: takes the data of a request.
        debug: whether faults carry a traceback.
        about_to_wait: called with a topic when the function is about to wait for the service there.
    """

    def __init__(
        self, name: str, function: Callable[[Any], Any], debug: bool, about_to_wait: Callable[[str], None]
    ) -> None:
        self._name = name
        self._function = function
        self._debug = debug
        self._about_to_wait = about_to_wait

    def run(self, request: Request, encode: Callable[[Request, Any], Any], count: int) -> Any:
        """Call the function with the data of a request. Return `encode(request, result)`, or a Failure.

        Args:
            encode: may raise if the result cannot be sent.
            count: the number of earlier attempts at the request, all of which failed.
        """
        data = request.raw
        if type(data) is msgspec.Raw:
            try:
                data = decode_data(data)
            except (ValueError, RecursionError) as error:
                said = f"The data of the request cannot be decoded: {error}."
                return Failure(Fault(400, said, "BadRequest"), undecodable=True)
        thread = get_ident()
        told_of_waits[thread] = self._about_to_wait
        try:
            return encode(request, self._function(data))
        except BaseException as error:
            failure = Failure(fault_of(error, self._debug), wanted_exit(error))
            self._log(request, failure.fault, count)
            return failure
        finally:
            told_of_waits.pop(thread, None)

    def _log(self, request: Request, fault: Fault, count: int) -> None:
        """Log the exception that is being handled: an abort on one line, and a traceback only for the first attempt."""
        source = request.source or request.reply_to
        if fault.type is None:
            log.info(
                "%s aborted the request %s from %s: %s (code %s)",
                self._name, request.uuid, source, printable(fault.message), fault.code,
            )  # fmt: skip
        elif request.reply_to or not count:
            log.exception("%s failed on the request %s from %s", self._name, request.uuid, source)
