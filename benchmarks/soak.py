"""Test that memory and descriptors do not grow during hundreds of thousands of calls.

Run it with `make soak`, or `python benchmarks/soak.py --calls 1000000`. The calls go through server, workers and front
end. Half of them come from a program. Half are words that visitors submit to the front end and fetch one by one, as the
page does. It fails (exit code 1) if a process grows by more than the bound between the warm-up and the last call, if a
process ends, or if an answer is wrong or missing.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import macaque

ROOT = Path(__file__).resolve().parent.parent
SERVICE = "mqlight/sample/wordsuppercase"
START_TIMEOUT = 30.0
STALLED = 120.0
"""Seconds without an answer after which the test fails: long enough for other work of the machine."""
IN_FLIGHT = 50
WORDS = 200
"""Words in a sentence."""
SAMPLES = 50
WARM_UP = 0.2
"""The part of the calls after which memory and descriptors should not grow any more."""
GROWTH_FACTOR = 1.1
GROWTH = 4 * 1024
"""KiB of growth after the warm-up that are allowed even if the factor is exceeded: an allocator keeps some memory."""
GROWTH_DESCRIPTORS = 10


class Failure(Exception):
    """The test has failed. The sentence names the cause."""


class Program:
    """A process whose output goes to a file, with samples of its memory and descriptors."""

    def __init__(self, name: str, folder: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        self.samples: list[tuple[int, int]] = []
        """Resident memory in KiB, and the number of descriptors."""
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def expect(self, pattern: str) -> str:
        """Return the first group of a match in the output. Raises Failure if there is no match in time."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(pattern, self._log.read_text(errors="replace")):
                return found[1]
            time.sleep(0.05)
        raise Failure(f"{self.name} did not print {pattern!r}, but:\n{self._log.read_text(errors='replace')[-2000:]}")

    def sample(self) -> None:
        if self._process.poll() is not None:
            raise Failure(f"{self.name} ended:\n{self._log.read_text(errors='replace')[-2000:]}")
        proc = Path("/proc") / str(self._process.pid)
        resident = re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())
        assert resident is not None
        self.samples.append((int(resident[1]), len(list((proc / "fd").iterdir()))))

    def grew(self) -> list[str]:
        """Return a sentence for each figure that grew beyond its bound between the end of the warm-up and the end."""
        first = max(1, int(len(self.samples) * WARM_UP))
        tenth = max(1, len(self.samples) // 10)
        before, after = self.samples[first : first + tenth], self.samples[-tenth:]
        memory, descriptors = ([median(sample[kind] for sample in part) for part in (before, after)] for kind in (0, 1))
        said = []
        if memory[1] > max(memory[0] * GROWTH_FACTOR, memory[0] + GROWTH):
            said.append(f"{self.name}: memory grew from {memory[0] / 1024:.1f} to {memory[1] / 1024:.1f} MiB")
        if descriptors[1] > descriptors[0] + GROWTH_DESCRIPTORS:
            said.append(f"{self.name}: descriptors grew from {descriptors[0]:.0f} to {descriptors[1]:.0f}")
        return said

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Load:
    """A number of calls. `done` counts answers, and `errors` has a sentence for each failure."""

    def __init__(self, calls: int) -> None:
        self.done = 0
        self.errors: list[str] = []
        self.calls = calls
        threading.Thread(target=self._run_all, daemon=True).start()

    def _run_all(self) -> None:
        try:
            self.run()
        except Exception as error:
            self.errors.append(f"{type(self).__name__}: {error!r}")

    def run(self) -> None:
        raise NotImplementedError


class Caller(Load):
    """A program that calls the service."""

    def __init__(self, url: str, calls: int) -> None:
        self._url = url
        super().__init__(calls)

    def run(self) -> None:
        room = threading.Semaphore(IN_FLIGHT)

        def answered(word: str, answer: Any) -> None:
            if answer["word"] != word.upper():
                self.errors.append(f"{word!r} came back as {answer!r}")
            self.done += 1
            room.release()

        def failed(error: Exception) -> None:
            self.errors.append(repr(error))
            room.release()

        with macaque.Client(broker=self._url) as client:
            for number in range(self.calls):
                room.acquire()
                word = f"word{number}"
                client.call(SERVICE, {"word": word}, lambda answer, word=word: answered(word, answer), on_error=failed)
            for _ in range(IN_FLIGHT):
                room.acquire()


class Visitor(Load):
    """A user with a browser: submits sentences and polls for their words over one connection."""

    def __init__(self, url: str, calls: int) -> None:
        self._address = urlsplit(url).netloc
        super().__init__(calls)

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        headers = {"Cookie": (response.headers["Set-Cookie"] or "").split(";")[0], "Content-Type": "application/json"}

        def ask(method: str, path: str, body: Any = None) -> Any:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            if response.status not in (200, 204):
                raise Failure(f"{method} {path} was answered by {response.status}: {text.decode()}")
            return json.loads(text) if text else None

        while self.done < self.calls:
            words = [f"word{number}" for number in range(min(WORDS, self.calls - self.done))]
            ask("POST", "/rest/words", {"words": " ".join(words)})
            expected = {word.upper() for word in words}
            moved = time.monotonic()
            while expected:
                reply = ask("GET", "/rest/wordsuppercase?wait=20")
                if reply is None and time.monotonic() < moved + STALLED:
                    continue
                if reply is None or "error" in reply or reply["word"] not in expected:
                    raise Failure(f"a poll brought {reply!r}, {len(expected)} words are still out")
                moved = time.monotonic()
                expected.discard(reply["word"])
                self.done += 1


@contextmanager
def programs() -> Iterator[tuple[list[Program], str, str]]:
    """Start server, two workers and front end. Yield them, with the addresses of server and front end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = str(folder / "data")

        def start(name: str, *arguments: str, env: dict[str, str] | None = None) -> Program:
            program = Program(name, folder, *arguments, env=env)
            stack.callback(program.close)
            return program

        server = start("server", "-m", "mqlight.server", "--port", "0", "--no-console", "--data", data)
        url = server.expect(r"(amqp://\S+)\n")
        env = {"MACAQUE_BROKER": url, "PORT": "0", "FRONTEND_RATE_PER_ADDRESS": "1000000"}
        workers = [start(f"worker {number}", "-m", "backend", env=env) for number in (1, 2)]
        for worker in workers:
            worker.expect("( serves )")
        frontend = start("front end", "-m", "frontend", env=env)
        page = frontend.expect(r"The page is at (http://\S+)")
        wait_until_ready(page)
        yield [server, *workers, frontend], url, page


def wait_until_ready(page: str) -> None:
    """Wait until the front end is connected."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        with closing(http.client.HTTPConnection(urlsplit(page).netloc, timeout=10)) as connection:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise Failure(f"the front end at {page} was not connected within {START_TIMEOUT:g} s")


def soak(calls: int, visitors: int) -> list[str]:
    """Make the calls. Return a sentence for each failure."""
    with programs() as (all_programs, url, page):
        share = calls // 2 // visitors
        loads: list[Load] = [Caller(url, calls - share * visitors), *(Visitor(page, share) for _ in range(visitors))]
        began = moved = time.monotonic()
        sampled = last = 0
        while True:
            done = sum(load.done for load in loads)
            now = time.monotonic()
            if done > last:
                last, moved = done, now
            errors = [error for load in loads for error in load.errors]
            if errors:
                counts = ", ".join(f"{type(load).__name__} {load.done} of {load.calls}" for load in loads)
                return [*errors[:5], f"answers until then: {counts}"]
            if now - moved > STALLED:
                return [f"no answer for {STALLED:g} s, after {done} of {calls} calls"]
            if done * SAMPLES >= (sampled + 1) * calls:
                sampled += 1
                for program in all_programs:
                    program.sample()
                taken = ", ".join(
                    f"{program.name} {program.samples[-1][0] / 1024:.1f} MiB {program.samples[-1][1]} fd"
                    for program in all_programs
                )
                print(f"{done:>9} calls, {done / (now - began):.0f}/s: {taken}", flush=True)
            if done >= calls and sampled >= SAMPLES:
                return [said for program in all_programs for said in program.grew()]
            time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--visitors", type=int, default=4)
    options = parser.parse_args()
    try:
        wrong = soak(options.calls, options.visitors)
    except Failure as failure:
        wrong = [str(failure)]
    for said in wrong:
        print(f"soak: {said}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
