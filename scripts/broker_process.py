"""The shared part of the scripts that start brokers for tests: a process on disk, and a broker from Maven Central."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

CACHE = Path(os.environ.get("MACAQUE_CACHE") or Path.home() / ".cache" / "macaque")
PACKAGES = {"java": "default-jre-headless", "mvn": "maven"}
START_TIMEOUT = 60.0


class Failure(Exception):
    """The broker cannot be installed or started here. The text names the remedy."""


def need(program: str) -> None:
    """Raise Failure if a program is not installed."""
    if shutil.which(program) is None:
        raise Failure(
            f"the command {program} is missing: on Debian and Ubuntu, run apt-get install {PACKAGES[program]}"
        )


def need_port(port: int) -> None:
    """Raise Failure if a port of 127.0.0.1 is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Failure(f"port {port} is taken ({error.strerror}): choose another with --port") from None


def listens(port: int) -> bool:
    """Return whether a process listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def birth(pid: int) -> str:
    """Return when a process began, in ticks since boot; "" if it has ended.

    A later process may have the same number, but not the same beginning. Neither of them changes when the process
    executes another program. Its environment does change, and cannot be read then.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # proc(5): fields 3 and 22


def kill_group(pid: int, born: str) -> None:
    """Kill a process that leads a group, and its group, and wait until it has ended."""
    deadline = time.monotonic() + 10
    while birth(pid) == born != "" and time.monotonic() < deadline:
        os.killpg(pid, signal.SIGKILL)
        time.sleep(0.02)


class MavenBroker:
    """A broker in Java from Maven Central, with one data folder."""

    name: str
    title: str
    version: str
    artifact: str
    """Maven's coordinates: group and artifact."""
    folder: str
    """The name of the folder in the archive."""

    def __init__(self, data: Path | None, port: int) -> None:
        self.home = CACHE / self.folder
        self.data = (data or CACHE / f"{self.name}-{port}").absolute()
        self.pid_file = self.data / "pid"
        port_file = self.data / "port"
        self.port = int(port_file.read_text()) if port_file.exists() else port

    @property
    def url(self) -> str:
        return f"amqp://127.0.0.1:{self.port}"

    def create(self) -> None:
        """Write the configuration of a new broker into the data folder."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command that runs the broker."""
        raise NotImplementedError

    def install(self) -> None:
        """Fetch the binary distribution into the cache folder, unless it is there."""
        need("java")
        if self.home.exists():
            return
        need("mvn")
        part = CACHE / f"{self.name}.{os.getpid()}"
        part.mkdir(parents=True)
        try:
            print(f"Installing {self.title} {self.version} into {self.home} (a minute)", file=sys.stderr)
            artifact = f"{self.artifact}:{self.version}:tar.gz:bin"
            goal = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={part}"]
            done = subprocess.run(
                goal, cwd=part, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            archive = part / f"{self.folder}-bin.tar.gz"
            if done.returncode or not archive.exists():
                raise Failure("Maven could not download the broker: " + " ".join(done.stdout.splitlines()[-3:]))
            with tarfile.open(archive) as tar:
                tar.extractall(part)
            try:
                (part / self.folder).rename(self.home)
            except OSError:  # another process was faster
                pass
        finally:
            shutil.rmtree(part)

    def process(self) -> tuple[int, str]:
        """Return the number and the beginning of the process that was started last."""
        try:
            pid, born = self.pid_file.read_text().split()
        except (OSError, ValueError):
            return 0, ""
        return int(pid), born

    def runs(self) -> bool:
        pid, born = self.process()
        return born != "" and birth(pid) == born

    def start(self) -> None:
        """Start the broker unless it runs, and wait until it listens."""
        if not self.runs():
            need_port(self.port)
            if not self.pid_file.exists():
                self.create()
                (self.data / "port").write_text(str(self.port))
            with (self.data / "out").open("ab") as out:
                process = subprocess.Popen(
                    self.command(),
                    cwd=self.data,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.pid_file.write_text(f"{process.pid} {birth(process.pid)}")
        deadline = time.monotonic() + START_TIMEOUT
        while not listens(self.port):
            if not self.runs() or time.monotonic() > deadline:
                words = "\n".join((self.data / "out").read_text(errors="replace").splitlines()[-15:])
                raise Failure(f"the broker did not start. Its output ends with:\n{words}")
            time.sleep(0.1)

    def kill(self) -> None:
        kill_group(*self.process())

    def stop(self) -> None:
        self.kill()
        if self.pid_file.exists():
            shutil.rmtree(self.data)


def main(kind: type[MavenBroker], description: str, port: int) -> int:
    """Run the command line of a script. Return the exit code."""
    script = f"scripts/{kind.name}"
    parser = argparse.ArgumentParser(
        prog=script, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["install", "start", "stop", "kill"])
    parser.add_argument("--port", type=int, default=port, help="The AMQP port. [default: %(default)s]")
    parser.add_argument(
        "--data", type=Path, help="The data folder. [default: a folder in the cache folder, named after the port]"
    )
    options = parser.parse_args()
    broker = kind(options.data, options.port)
    try:
        if options.verb in ("install", "start"):
            broker.install()
        if options.verb == "install":
            print(kind.version)
        elif options.verb == "start":
            broker.start()
            print(broker.url)
        elif options.verb == "stop":
            broker.stop()
        else:
            broker.kill()
    except Failure as failure:
        print(f"{script}: {failure}", file=sys.stderr)
        return 2
    return 0
