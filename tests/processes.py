"""Real processes that say when they are ready, and waits with a bound."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
# A safety net each: a test that is about how long something takes says so itself.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 30.0, what: str | None = None) -> T:
    """Call `predicate` until what it returns is true, and return that; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not (result := predicate()):
        assert time.monotonic() < deadline, f"{what or 'what was waited for'} did not happen within {timeout:g} s"
        pause.wait(0.01)
    return result


class Process:
    """A running program, the leader of its own process group, whose output is collected as it comes."""

    def __init__(
        self,
        command: Sequence[str],
        env: dict[str, str] | None = None,
        cwd: Path = ROOT,
        base: dict[str, str] | None = None,
    ) -> None:
        """Start `command` with the variables `env` beside those of `base`, by default the tests' own without what says
        where a broker is, and with this source tree on Python's path.
        """
        if base is None:
            ours = ("MACAQUE_BROKER", "VCAP_SERVICES", "PORT", "HOST")
            base = {k: v for k, v in os.environ.items() if k not in ours}
            base["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), base.get("PYTHONPATH")]))
        environ = {**base, "PYTHONUNBUFFERED": "1", **(env or {})}
        self.command = list(command)
        self._popen = subprocess.Popen(
            self.command,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._changed:
                self._lines.append(line.decode("utf-8", "replace"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def log(self) -> str:
        """Return what it has printed so far, on stdout and stderr."""
        with self._changed:
            return "".join(self._lines)

    def expect(self, pattern: str, timeout: float = START_TIMEOUT) -> re.Match[str]:
        """Wait until its output contains `pattern`, and return the first match.

        AssertionError, with the output, when it ends without or `timeout` seconds have passed.
        """
        found = re.compile(pattern, re.MULTILINE)

        def match() -> re.Match[str] | None:
            return found.search("".join(self._lines))

        with self._changed:
            self._changed.wait_for(lambda: match() or self._ended, timeout)
            result = match()
        assert result, f"{self} did not print {pattern!r} within {timeout:g} s, but:\n{self.log()}"
        return result

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait until it has ended and its output is complete; return its exit code."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} still runs after {timeout:g} s; it printed:\n{self.log()}") from None
        self._reader.join(timeout)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            self._popen.send_signal(number)

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """Ask it to stop (SIGTERM), wait, and return its exit code. May be called twice."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> int:
        """End it at once, as a crash would (SIGKILL), and return its exit code. May be called twice."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def close(self) -> None:
        """End it and everything that it has started, whatever state they are in."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._popen.wait()
        self._reader.join(STOP_TIMEOUT)
        if self._popen.stdout is not None and not self._reader.is_alive():
            self._popen.stdout.close()

    def __str__(self) -> str:
        return " ".join(self.command)


Spawn = Callable[..., Process]
"""The type of the `spawn` fixture, which says what it takes."""


class Server(Process):
    """A development server on a port of its own."""

    url: str
    port: int


def start_server(*options: str, port: int = 0) -> Server:
    """Start `python -m mqlight.server` and return it when it accepts connections; the caller closes it.

    `port` is for a server that has to come back where the last one was; 0 takes any free one. It has a console only
    where an option says so.
    """
    console = [] if any(option.startswith("--console") for option in options) else ["--no-console"]
    server = Server([sys.executable, "-m", "mqlight.server", "--port", str(port), *console, *options])
    try:
        ready = server.expect(r"(amqps?://\S+:(\d+))$")
    except BaseException:
        server.close()
        raise
    server.url, server.port = ready[1], int(ready[2])
    return server
