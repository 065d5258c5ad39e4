"""`make run`: run everything in the Procfile until Ctrl-C.

Environment variables set the ports of the server (`AMQP_PORT`) and of the front end (`PORT`), the number of back ends
(`WORKERS`), and the folder in which the server keeps its data (`AMQP_DATA`, .data/AMQP_PORT by default). Back ends and
front end get the server's URL in `MACAQUE_BROKER`.

If a back end stops or is killed, the others go on. If the server or the front end ends, or a back end fails, all end.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from time import monotonic, sleep
from types import FrameType

from honcho.environ import expand_processes, parse_procfile
from honcho.manager import SIGNALS, Manager
from honcho.printer import Message, Printer

from mqlight.environment import is_service_link

ROOT = Path(__file__).resolve().parent.parent
KILL_AFTER = 4
"""Seconds that the processes have to stop; a whole number, for signal.alarm."""
SERVER_LAST = 2.0
"""Seconds that the other processes have to stop before the server is stopped."""
START_WITHIN = 30.0
MAX_WORKERS = 64
SERVER = "server.1"
STAMP = re.compile(r"^\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?[+-]\d{4})?\]? ")
"""The time at the beginning of a program's line."""


class Mistake(Exception):
    """The application cannot run with these settings. The text names the variable to change."""


def number(environ: Mapping[str, str], name: str, default: int, most: int, least: int = 1) -> int:
    """Return the variable `name` as an int from `least` to `most`. Raises Mistake for any other value."""
    text = environ.get(name, "")
    if not text or is_service_link(name, text):
        text = str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise Mistake(f"{name}={text} is not a number from {least} to {most}: try make run {name}={default}")
    return int(text)


def check_free(name: str, port: int) -> None:
    """Raise Mistake if a process listens on `port`, which the variable `name` has set."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            reason = "is already in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            other = port + 1 if port < 65535 else port - 1
            raise Mistake(f"port {port} {reason}: choose another with {name}, as in make run {name}={other}") from None


def until(condition: Callable[[], bool]) -> bool:
    """Wait at most START_WITHIN seconds until a condition is true. Return whether it is."""
    deadline = monotonic() + START_WITHIN
    while not (met := condition()) and monotonic() < deadline:
        sleep(0.05)
    return met


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, HTTPException):
        return False


class Lines(Printer):
    """Prints each line with one time: the time that the program itself printed is left out."""

    def write(self, message: Message) -> None:
        data = message.data.decode("utf-8", "replace") if isinstance(message.data, bytes) else message.data
        lines = [STAMP.sub("", line) for line in data.splitlines()]
        super().write(message._replace(data="\n".join(lines)))


class Processes(Manager):
    """Honcho's manager, with two differences: back ends may end, and all processes are stopped at the end.

    The other processes start when the server listens, and stop before it. Therefore none of them loses its connection.
    """

    def __init__(self, amqp_port: int, page: str) -> None:
        super().__init__(Lines(sys.stdout))
        self._amqp_port = amqp_port
        self._server_told = False
        self._last_by = 0.0
        self._page = page

    def _start(self) -> None:
        others = {name: process for name, process in self._processes.items() if name != SERVER}
        server = self._processes[SERVER]
        for name, process in {SERVER: server, **others}.items():
            process["process"] = multiprocessing.Process(name=name, target=process["obj"].run, args=(self.events, True))
            process["process"].start()
            if name == SERVER:
                until(lambda: listens(self._amqp_port) or not server["process"].is_alive() or self._terminating)
        threading.Thread(target=self._announce, name="announce", daemon=True).start()

    def _announce(self) -> None:
        """Print the page's address as the last line of the start, when the front end is ready."""
        if until(lambda: self._terminating or answers(self._page + "readyz")) and not self._terminating:
            said = f"open {self._page} in a browser; Ctrl-C stops everything"
            self.events.put(Message("line", said, datetime.now(), "system", None))

    def _any_stopped(self) -> bool:
        codes = {name: process.get("returncode") for name, process in self._processes.items()}
        return any(code is not None and (code > 0 or not name.startswith("backend")) for name, code in codes.items())

    def terminate(self) -> None:
        signal.signal(signal.SIGALRM, lambda *_: self.end())
        signal.alarm(KILL_AFTER)
        self._last_by = monotonic() + SERVER_LAST
        super().terminate()

    def _killall(self, force: bool = False) -> None:
        self._kill(force, [name for name in self._processes if force or name != SERVER])

    def _kill(self, force: bool, names: list[str]) -> None:
        for name in names:
            process = self._processes[name]
            if "pid" in process and "returncode" not in process:
                (self._procmgr.kill if force else self._procmgr.terminate)(process["pid"])

    def _all_stopped(self) -> bool:
        """Return whether all processes have stopped, and stop the server last. Honcho calls it ten times a second."""
        if self._terminating and not self._server_told:
            others = [process for name, process in self._processes.items() if name != SERVER]
            if monotonic() > self._last_by or all("returncode" in process for process in others):
                self._server_told = True
                self._kill(False, [SERVER])
        return bool(super()._all_stopped())

    def end(self) -> None:
        """Kill the running processes, with their children, and print nothing: the terminal may be gone."""
        for process in self._processes.values():
            if "pid" in process and "returncode" not in process:
                self._procmgr.kill(process["pid"])


def main() -> int:
    """Run until a signal to stop. Return the exit code: 2 if the settings are wrong."""
    try:
        amqp_port = number(os.environ, "AMQP_PORT", 5672, 65535)
        port = number(os.environ, "PORT", 8000, 65535)
        workers = number(os.environ, "WORKERS", 1, MAX_WORKERS, least=0)
        if port == amqp_port:
            raise Mistake(f"AMQP_PORT and PORT are both {port}: the server and the front end need different ports")
        check_free("AMQP_PORT", amqp_port)
        check_free("PORT", port)
    except Mistake as mistake:
        print(f"make run: {mistake}", file=sys.stderr)
        return 2

    os.chdir(ROOT)
    environ = {
        **os.environ,
        "AMQP_PORT": str(amqp_port),
        "PORT": str(port),
        "HOST": os.environ.get("HOST") or "127.0.0.1",  # the HOST of the Procfile is for platforms: all interfaces
        "MACAQUE_BROKER": f"amqp://127.0.0.1:{amqp_port}",
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
    }
    procfile = parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8"))
    manager = Processes(amqp_port, f"http://127.0.0.1:{port}/")
    for process in expand_processes(procfile.processes, concurrency={"backend": workers}):
        manager.add_process(process.name, process.cmd, env={**environ, **process.env})

    def hang_up(signum: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # stop all processes when the terminal window is closed

    signal.signal(signal.SIGHUP, hang_up)
    try:
        manager.loop()
    finally:
        manager.end()
    interrupted = manager.returncode == SIGNALS[signal.SIGINT]["rc"]
    return 0 if interrupted else int(manager.returncode or 0)


if __name__ == "__main__":
    sys.exit(main())
