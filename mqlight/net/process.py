"""End the process when a callback calls ``exit()``."""

from __future__ import annotations

import atexit
import os
import sys
import threading


def end_process(error: SystemExit) -> None:
    """End the process with the status of ``error``, from any thread.

    In a thread, Python's ``exit()`` ends only that thread. A callback that calls ``exit(0)`` means the whole program.
    Functions registered with :mod:`atexit` are run, and standard output and error are flushed.
    """
    if threading.current_thread() is threading.main_thread():
        raise error
    code = error.code
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # the reader of the stream is gone
    os._exit(code or 0)
