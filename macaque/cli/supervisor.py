"""The processes of `macaque run --workers` and `--reload`: they are started again when they end, and stopped together.

The rules of this file:

* This process never imports the application. A worker is a new Python, so it shares no thread, lock or connection.
* Each worker has a channel to this process. At the end of the channel the worker finishes its requests and leaves. So
  no worker outlives this process, however that ends.
* A worker that ends by itself is started again after a pause, which grows while workers die young. After `MOST` young
  deaths in a row, or an error at the start, all workers stop.
* With `reload` the next change of a file starts the workers again, whatever happened to them before. Changes while the
  workers stop cause no second start. The others wait until the first one serves, so that an error of the module is
  printed once.
"""

from __future__ import annotations

import logging
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from time import monotonic

from macaque.cli.channel import ask_to_leave, heard
from macaque.observe.info import ServiceInfo
from macaque.signals import asked_to_leave
from mqlight.log import Log

__all__ = ["Deaths", "Supervisor", "words_of_end"]

log = Log(__name__)

YOUNG = 5.0
"""Seconds of life below which a worker has died young."""
MOST = 5
"""Young deaths in a row after which the supervisor gives up."""
FIRST, LONGEST = 0.5, 8.0
"""The shortest and the longest pause before a worker is started again, in seconds."""
MARGIN = 2.0
"""Seconds that a worker has to end beyond its time to finish requests. Then it is killed."""
RELOAD_GRACE = 2.0
"""Seconds to finish requests before the workers are started with changed files."""
WRONG = 2
"""The exit code of a worker that cannot start: its module, a setting, or the broker is wrong."""


class Deaths:
    """The young deaths in a row. Pure."""

    def __init__(self) -> None:
        self._young = 0

    def pause(self, lived: float) -> float | None:
        """Return the seconds until a worker that `lived` for some seconds is started again; None to give up."""
        if lived >= YOUNG:
            self._young = 0
            return FIRST
        self._young += 1
        return None if self._young >= MOST else min(LONGEST, FIRST * 2 ** (self._young - 1))


def words_of_end(code: int) -> str:
    """Return the words of a log line for the end of a process, from its exit code, which is negative for a signal."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"has ended with exit code {code}"


class _Worker:
    """One worker process.

    Args:
        on_end: called in a thread of the worker, when its process has ended.
        on_serves: called in a thread of the worker, with its services, when it serves.
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        on_end: Callable[[_Worker], object],
        on_serves: Callable[[_Worker, list[ServiceInfo]], object],
    ) -> None:
        self.number = number
        self.began = monotonic()
        self._channel, theirs = socket.socketpair()
        with theirs:
            named = ["--worker", str(number), "--channel", str(theirs.fileno())]
            self.process = subprocess.Popen([*command, *named], pass_fds=[theirs.fileno()])
        for what, run in ("worker", partial(self._wait, on_end)), ("channel", partial(self._listen, on_serves)):
            threading.Thread(target=run, name=f"macaque-{what}-{number}", daemon=True).start()

    def _wait(self, on_end: Callable[[_Worker], object]) -> None:
        self.process.wait()
        self._channel.close()
        on_end(self)

    def _listen(self, on_serves: Callable[[_Worker, list[ServiceInfo]], object]) -> None:
        services = heard(self._channel)
        if services is not None:
            on_serves(self, services)

    def leave(self) -> None:
        """Ask the worker to finish its requests and end."""
        ask_to_leave(self._channel)


class Supervisor:
    """Runs a number of workers until it is asked to leave.

    Args:
        command: the command of a worker, without the options that say which worker it is.
        workers: their number.
        grace: seconds that a worker has to finish its requests.
        watched: the folders whose Python files are watched; None to watch nothing.
        on_serves: called with the services of the first worker whenever it begins to serve.
    """

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        grace: float,
        watched: Collection[Path] | None,
        on_serves: Callable[[list[ServiceInfo]], object] = lambda services: None,
    ) -> None:
        self._command = command
        self._numbers = range(1, workers + 1)
        self._grace = grace
        self._watched = watched
        self._on_serves = on_serves
        self._events: queue.SimpleQueue[Callable[[], int | None]] = queue.SimpleQueue()
        """Functions to call, which return the exit code, or None to go on."""
        self._changes: queue.SimpleQueue[set[str]] = queue.SimpleQueue()
        """The names of changed files that no worker was started with."""
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}
        """The workers that wait for their start, with its time."""
        self._deaths = Deaths()

    def run(self) -> int:
        """Run until a signal, or `leave`. Return the exit code."""
        done = threading.Event()
        with asked_to_leave(partial(self.leave, 0)):
            if self._watched is not None:
                threading.Thread(
                    target=self._watch, args=(self._watched, done), name="macaque-reload", daemon=True
                ).start()
            try:
                self._start_all()
                return self._supervise()
            finally:
                done.set()
                self._stop(self._grace)

    def leave(self, code: int) -> None:
        """Have `run` stop the workers and return an exit code. Any thread may call it."""
        self._events.put(lambda: code)

    def change(self, files: set[str]) -> None:
        """Have all workers started again, because files have changed. Any thread may call it."""
        self._changes.put(files)
        self._events.put(self._restart)

    def _supervise(self) -> int:
        while True:
            for number in [number for number, at in self._due.items() if at <= monotonic()]:
                del self._due[number]
                self._start(number)
            try:
                event = self._events.get(timeout=max(0.0, min(self._due.values(), default=3e6) - monotonic()))
            except queue.Empty:
                continue
            code = event()
            if code is not None:
                return code

    def _start_all(self) -> None:
        """Have all workers started: with `reload` the first one, and the others when it serves."""
        self._due = dict.fromkeys(self._numbers if self._watched is None else self._numbers[:1], monotonic())

    def _start(self, number: int) -> None:
        worker = self._workers[number] = _Worker(
            number,
            self._command,
            on_end=lambda worker: self._events.put(partial(self._ended, worker)),
            on_serves=lambda worker, services: self._events.put(partial(self._serves, worker, services)),
        )
        log.info("worker %d is process %d", number, worker.process.pid)

    def _serves(self, worker: _Worker, services: list[ServiceInfo]) -> None:
        """Go on after the start of the first worker."""
        if worker.number == self._numbers[0] and self._workers.get(worker.number) is worker:
            self._on_serves(services)
            for number in self._numbers:
                if number not in self._workers:
                    self._due.setdefault(number, monotonic())

    def _restart(self) -> None:
        """Start all workers again, once for all the files that have changed."""
        if files := self._take_changes():
            log.info("%s has changed: the workers are started again", ", ".join(sorted(files)))
            self._stop(min(self._grace, RELOAD_GRACE))
            self._take_changes()  # the new workers have these as well
            self._start_all()

    def _take_changes(self) -> set[str]:
        files: set[str] = set()
        while not self._changes.empty():
            files |= self._changes.get()
        return files

    def _ended(self, worker: _Worker) -> int | None:
        """Have a worker started again. If another start cannot help, return the exit code of the command."""
        if self._workers.get(worker.number) is not worker:
            return None
        del self._workers[worker.number]
        code, lived = worker.process.returncode, monotonic() - worker.began
        about = worker.number, worker.process.pid, words_of_end(code)
        worker.leave()
        if self._watched is not None:
            log.warning("worker %d (process %d) %s. The next change of a file starts it again", *about)
            return None
        pause = None if code == WRONG and lived < YOUNG else self._deaths.pause(lived)
        if pause is None:
            log.error("worker %d (process %d) %s. It would end again, so all workers stop", *about)
            return code if code > 0 else 1
        log.warning("worker %d (process %d) %s. It is started again in %g s", *about, pause)
        self._due[worker.number] = monotonic() + pause
        return None

    def _stop(self, grace: float) -> None:
        """Stop all workers together."""
        workers = list(self._workers.values())
        self._workers.clear()
        self._due.clear()
        for worker in workers:
            worker.leave()
        deadline = monotonic() + grace + MARGIN
        for worker in workers:
            try:
                worker.process.wait(max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                log.warning(
                    "worker %d (process %d) did not end in time and is killed", worker.number, worker.process.pid
                )
                worker.process.kill()
                worker.process.wait()

    def _watch(self, folders: Collection[Path], done: threading.Event) -> None:
        from watchfiles import PythonFilter, watch

        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs each change, as this process does
        try:
            for changes in watch(*folders, watch_filter=PythonFilter(), debounce=200, step=50, stop_event=done,
                                 raise_interrupt=False):  # fmt: skip
                self.change({Path(path).name for _, path in changes})
        except (OSError, RuntimeError) as error:  # a folder is gone, or the system has no more watches
            log.error("the files cannot be watched: %s. Name fewer of them with --reload-dir", error)
            self.leave(WRONG)
