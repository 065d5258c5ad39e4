"""What a service's function raised, as the error of its caller.

The rules of this file:

* Whatever the function raises is a fault, also what is no `Exception`: cancellation, the time-outs of gevent.
* `exit()` and Ctrl-C ask for the end of the process. They are the fault `EXIT`, and the server leaves afterwards.
* An exception may be hostile: its text may fail, or hold what UTF-8 cannot carry. Nothing is raised here.
"""

from __future__ import annotations

import traceback

from macaque.envelope import Fault
from macaque.errors import Abort

__all__ = ["EXIT", "OVERRUN", "fault_of", "wanted_exit"]

EXIT = "exit"
"""The code of a service whose function asked for the end of its process."""
OVERRUN = 504
"""The code of a service whose function was not done within its timeout."""


def fault_of(error: BaseException, debug: bool = False) -> Fault:
    """Return the fault for an exception; with its traceback if `debug`. Raises nothing."""
    try:
        if isinstance(error, Abort):
            return Fault(error.code, _text(error.message), None, error.details, error.retryable)
        kind = type(error).__name__
        if wanted_exit(error) is not None:
            return Fault(EXIT, f"the service asked for the end of its process: {kind}({_text(error)})", kind)
        return Fault(500, _text(error), kind, None, False, _trace(error) if debug else None)
    except BaseException:
        return Fault(500, "the service failed with an error that cannot be described", "BaseException")


def wanted_exit(error: BaseException) -> SystemExit | None:
    """Return how the process is to end, if an exception asks for that. Ctrl-C counts as `exit(130)`. Raises nothing."""
    try:
        if isinstance(error, SystemExit):
            return error
        return SystemExit(130) if isinstance(error, KeyboardInterrupt) else None
    except BaseException:
        return None  # its `__class__` is a property that fails


def _text(value: object) -> str:
    try:
        return str(value).encode(errors="backslashreplace").decode()
    except BaseException:
        return "(its text cannot be had)"


def _trace(error: BaseException) -> str | None:
    try:
        return _text("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    except BaseException:
        return None
