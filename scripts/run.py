"""`make run`: everything in the Procfile, together, until Ctrl-C.

The environment says how: `AMQP_PORT` and `PORT` are where the server and the front end listen, `WORKERS` is the number
of back ends, and `AMQP_DATA` the folder for what the server keeps (.data/AMQP_PORT otherwise). Back ends and front end
are told of the server by `MACAQUE_BROKER`.

A back end may stop or be killed, and the rest goes on. When anything else ends, or a back end fails, everything ends.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from honcho.environ import expand_processes, parse_procfile
from honcho.manager import Manager

ROOT = Path(__file__).resolve().parent.parent
KILL_AFTER = 4
"""Seconds that the processes get to stop; whole ones, for signal.alarm."""
MAX_WORKERS = 64


class Mistake(Exception):
    """What was asked for cannot be run; the sentence names the variable to change."""


def number(environ: Mapping[str, str], name: str, default: int, most: int, least: int = 1) -> int:
    """Return the variable `name` as an int from `least` to `most`; raise Mistake for anything else."""
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise Mistake(f"{name}={text} is not a number from {least} to {most}: try make run {name}={default}")
    return int(text)


def check_free(name: str, port: int) -> None:
    """Raise Mistake if something listens on `port`, which the variable `name` set."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            reason = "is already in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            other = port + 1 if port < 65535 else port - 1
            raise Mistake(f"port {port} {reason}: choose another with {name}, as in make run {name}={other}") from None


class Processes(Manager):
    """Honcho's manager, for which back ends may come and go, and which ends all that it started."""

    def _any_stopped(self) -> bool:
        codes = {name: process.get("returncode") for name, process in self._processes.items()}
        return any(code is not None and (code > 0 or not name.startswith("backend")) for name, code in codes.items())

    def terminate(self) -> None:
        signal.signal(signal.SIGALRM, lambda *_: self.end())
        signal.alarm(KILL_AFTER)
        super().terminate()

    def end(self) -> None:
        """Kill what still runs, with the processes that it started, and print nothing: the terminal may be gone."""
        for process in self._processes.values():
            if "pid" in process and "returncode" not in process:
                self._procmgr.kill(process["pid"])


def main() -> int:
    """Run until told to stop; return the exit code, 2 when what was asked for cannot be run."""
    try:
        amqp_port = number(os.environ, "AMQP_PORT", 5672, 65535)
        port = number(os.environ, "PORT", 8000, 65535)
        workers = number(os.environ, "WORKERS", 1, MAX_WORKERS, least=0)
        if port == amqp_port:
            raise Mistake(f"AMQP_PORT and PORT are both {port}: the server and the front end need a port each")
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
        "MACAQUE_BROKER": f"amqp://127.0.0.1:{amqp_port}",
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
    }
    procfile = parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8"))
    manager = Processes()
    for process in expand_processes(procfile.processes, concurrency={"backend": workers}):
        manager.add_process(process.name, process.cmd, env={**environ, **process.env})

    def hang_up(signum: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # a closed terminal window is no reason to leave processes behind

    signal.signal(signal.SIGHUP, hang_up)
    try:
        manager.loop()
    finally:
        manager.end()
    return int(manager.returncode or 0)


if __name__ == "__main__":
    sys.exit(main())
