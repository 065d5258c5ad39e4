"""How ``exit()`` in a callback ends the process."""

from __future__ import annotations

import atexit
import os
import sys
import threading


def end_process(error: SystemExit) -> None:
    """End the process from whatever thread this is, with the status of ``error``.

    Python ends only the thread when ``exit()`` is called in one, but a program whose callback says ``exit(0)`` means
    all of it. Functions registered with :mod:`atexit` are run, and standard output and error are flushed.
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
            pass  # nobody reads it any more
    os._exit(code or 0)
