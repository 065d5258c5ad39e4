"""A server that `macaque dev` runs beside the services, in a process of its own.

The rules of this file:

* The server reads a pipe of this process, and ends with it. So it does not outlive this process, however that ends.
* Ctrl-C in the terminal does not reach the server, because the services need it until they have finished.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable

import click

__all__ = ["Companion"]

READY = re.compile(r"\bat (\S+)$")
CLOSE_TIMEOUT = 5.0
"""Seconds that the server has to end. Then it is killed."""


class Companion:
    """A server, which is started at once. Its lines are printed.

    Args:
        module: the module of the server. Its first line ends with its URL.
        arguments: the arguments for the module, beside `--leave-with-parent`.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._closing = False
        self._watching: threading.Thread | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--leave-with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Companion:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def wait_ready(self) -> str:
        """Wait until the server listens, and return its URL. If it cannot start, the command ends with its code."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            click.echo(line, nl=False)
            if (found := READY.search(line)) is not None:
                return found[1]
        raise SystemExit(self._process.wait() or 1)

    def watch(self, on_end: Callable[[int], object]) -> None:
        """Print further lines of the server, and call `on_end(exit code)` if it ends before `close`."""

        def forward() -> None:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                click.echo(line, nl=False)
            code = self._process.wait()
            if not self._closing:
                on_end(code)

        self._watching = threading.Thread(target=forward, name="macaque-companion", daemon=True)
        self._watching.start()

    def close(self) -> None:
        """End the server. A second call is harmless."""
        self._closing = True
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(CLOSE_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._watching is not None:
            self._watching.join()
        self._process.stdout.close()
