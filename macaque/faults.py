"""The exceptions of a service's function, as errors for its caller.

The rules of this file:

* Every exception of the function becomes a fault, even one that is not an `Exception`: cancellation, gevent timeouts.
* `exit()` and Ctrl-C ask for the end of the process. They become the fault `EXIT`, and the server stops afterwards.
* An exception may be hostile: its text may fail, or have characters that UTF-8 cannot carry. No function here raises.
"""

from __future__ import annotations

import traceback

from macaque.envelope import Fault
from macaque.errors import Abort

__all__ = ["CANCELLED", "EXIT", "INTERRUPTED", "OVERRUN", "fault_of", "wanted_exit"]

EXIT = "exit"
"""The error code if the function of a service asked for the end of its process."""
CANCELLED = "cancelled"
"""The error code if the function of a service was stopped, because its caller no longer waits."""
INTERRUPTED = "interrupted"
"""The error code of a stream whose worker is gone."""
OVERRUN = 504
"""The error code if the function of a service did not return within its timeout."""


def fault_of(error: BaseException, debug: bool = False) -> Fault:
    """Return the fault for an exception, with its traceback if `debug`. Raises nothing."""
    try:
        if isinstance(error, Abort):
            return Fault(error.code, _text(error.message), None, error.details, error.retryable)
        kind = type(error).__name__
        if wanted_exit(error) is not None:
            return Fault(EXIT, f"the service ended its process: {kind}({_text(error)})", kind)
        return Fault(500, _text(error), kind, None, False, _trace(error) if debug else None)
    except BaseException:
        return Fault(500, "the service failed with an error that cannot be described", "BaseException")


def wanted_exit(error: BaseException) -> SystemExit | None:
    """Return the exit that an exception asks for, or None. Ctrl-C counts as `exit(130)`. Raises nothing."""
    try:
        if isinstance(error, SystemExit):
            return error
        return SystemExit(130) if isinstance(error, KeyboardInterrupt) else None
    except BaseException:
        return None  # the `__class__` of the error is a property that fails


def _text(value: object) -> str:
    try:
        return str(value).encode(errors="backslashreplace").decode()
    except BaseException:
        return "(its text cannot be read)"


def _trace(error: BaseException) -> str | None:
    try:
        return _text("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    except BaseException:
        return None
