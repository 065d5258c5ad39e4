"""The processes of `macaque run --workers` and `--reload`: they are started again when they end, and stopped together.

The rules of this file:

* This process never imports the application. A worker is a new Python, so it shares no thread, lock or socket.
* Each worker reads a pipe of this process. At the end of the pipe the worker finishes its requests and leaves. So no
  worker outlives this process, however that ends.
* A worker that ends by itself is started again after a pause, which grows while workers die young. After `MOST` young
  deaths in a row, or an error at the start, all workers stop.
* With `reload` the next change of a file starts the workers again, whatever happened to them before.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from macaque.signals import asked_to_leave
from mqlight.log import Log

__all__ = ["Deaths", "Supervisor", "leave_with_parent"]

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
AGAIN = 0.2
"""Seconds until a worker whose parent has left is asked again to leave."""
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


class _Worker:
    def __init__(self, number: int, command: Sequence[str], told: Callable[[_Worker], object]) -> None:
        self.number = number
        self.began = monotonic()
        self.process = subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE)
        threading.Thread(target=self._wait, args=(told,), name=f"macaque-worker-{number}", daemon=True).start()

    def _wait(self, told: Callable[[_Worker], object]) -> None:
        self.process.wait()
        told(self)

    def leave(self) -> None:
        """Ask the worker to finish its requests and end."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    @property
    def end(self) -> str:
        """The end of the worker, as words of a log line."""
        code = self.process.returncode
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"has ended with exit code {code}"


class Supervisor:
    """Runs a number of workers until it is asked to leave.

    Args:
        command: the command of a worker, without its last argument, which is its number.
        workers: their number.
        grace: seconds that a worker has to finish its requests.
        watched: the folders whose Python files are watched; None to watch nothing.
    """

    def __init__(self, command: Sequence[str], workers: int, grace: float, watched: Sequence[Path] | None) -> None:
        self._command = command
        self._numbers = range(1, workers + 1)
        self._grace = grace
        self._watched = watched
        self._events: queue.SimpleQueue[_Worker | str | None] = queue.SimpleQueue()
        """A worker that has ended, the changed files, or None for a signal."""
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}
        """The workers that wait for their start, with its time."""
        self._deaths = Deaths()

    def run(self) -> int:
        """Run until a signal. Return the exit code."""
        done = threading.Event()
        with asked_to_leave(lambda: self._events.put(None)):
            if self._watched is not None:
                threading.Thread(
                    target=self._watch, args=(self._watched, done), name="macaque-reload", daemon=True
                ).start()
            try:
                self._due = dict.fromkeys(self._numbers, monotonic())
                return self._supervise()
            finally:
                done.set()
                self._stop(self._grace)

    def _supervise(self) -> int:
        while True:
            for number in [number for number, at in self._due.items() if at <= monotonic()]:
                del self._due[number]
                self._start(number)
            try:
                event = self._events.get(timeout=max(0.0, min(self._due.values(), default=3e6) - monotonic()))
            except queue.Empty:
                continue
            if event is None:
                return 0
            if isinstance(event, str):
                log.info("%s has changed: the workers are started again", event)
                self._stop(min(self._grace, RELOAD_GRACE))
                self._due = dict.fromkeys(self._numbers, monotonic())
            elif self._workers.get(event.number) is event:
                del self._workers[event.number]
                code = self._ended(event)
                if code is not None:
                    return code

    def _start(self, number: int) -> None:
        worker = self._workers[number] = _Worker(number, self._command, self._events.put)
        log.info("worker %d is process %d", number, worker.process.pid)

    def _ended(self, worker: _Worker) -> int | None:
        """Have a worker started again. Return the exit code if that makes no sense."""
        code, lived = worker.process.returncode, monotonic() - worker.began
        about = worker.number, worker.process.pid, worker.end
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

    def _watch(self, folders: Sequence[Path], done: threading.Event) -> None:
        from watchfiles import PythonFilter, watch

        for changes in watch(*folders, watch_filter=PythonFilter(), debounce=200, step=50, stop_event=done,
                             raise_interrupt=False):  # fmt: skip
            self._events.put(", ".join(sorted({Path(path).name for _, path in changes})))


def leave_with_parent(leave: Callable[[], bool]) -> None:
    """Call `leave()` when the process that started this one closes the pipe, or ends. Returns at once.

    Args:
        leave: begins an orderly end. It is called again and again, because the server may just be starting. If it
            returns False, there is nothing to finish, and the process ends.
    """

    def wait() -> None:
        while os.read(0, 1024):  # not by sys.stdin, whose lock would disturb the end of the process
            pass
        while leave():
            pause.wait(AGAIN)
        os._exit(0)

    pause = threading.Event()
    threading.Thread(target=wait, name="macaque-parent", daemon=True).start()
