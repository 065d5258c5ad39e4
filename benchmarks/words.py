"""Measure how fast the words of a sentence come back to the HTTP client.

Run it with `python benchmarks/words.py [--workers 1]`. It starts a development server, back ends and a front end. It
submits sentences of 1,000 words and fetches the replies in two ways: one per request, and up to 200 per request. It
prints the best of five rounds for each, and the processor time per word in each process. That time hardly depends on
other work of the machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent


def start(stack: ExitStack, arguments: list[str], pattern: str, **environ: str) -> tuple[int, str]:
    """Start a program that ends with the stack. Return its process id, and the first group of a match in its output."""
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments],
        env={**os.environ, **environ},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            threading.Thread(target=process.stdout.read, daemon=True).start()  # so that its pipe never fills
            return process.pid, found[1]
    raise SystemExit(f"{arguments} ended without {pattern!r}")


def processor_seconds(pid: int) -> float:
    """Return the seconds of processor time that a process and its children have used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(processor_seconds(int(child)) for child in children)


class Browser:
    """A client with a session, on one connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)
        self._cookie = ""
        self._cookie = self.ask("GET", "/")[1].getheader("Set-Cookie", "").partition(";")[0]

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[bytes, http.client.HTTPResponse]:
        headers = {"Content-Type": "application/json"} | ({"Cookie": self._cookie} if self._cookie else {})
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response.read(), response

    def seconds(self, words: int, fetch: Any) -> float:
        """Return the seconds from the POST of a sentence to its last reply."""
        began = time.perf_counter()
        answer, response = self.ask("POST", "/rest/words", json.dumps({"words": "fish " * words}))
        assert response.status == 200, answer
        left = words
        while left > 0:
            left -= fetch(self)
        return time.perf_counter() - began


def one(browser: Browser) -> int:
    return int(browser.ask("GET", "/rest/wordsuppercase?wait=20")[1].status == 200)


class Many:
    """Fetches up to 200 replies per request."""

    def __init__(self) -> None:
        self._after = 0

    def __call__(self, browser: Browser) -> int:
        path = f"/rest/wordsuppercase?after={self._after}&most=200&wait=20"
        replies = json.loads(browser.ask("GET", path)[0])["replies"]
        self._after = replies[-1]["id"] if replies else self._after
        return len(replies)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--words", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-only", action="store_true", help="for a front end that knows no `after`")
    options = parser.parse_args()
    with ExitStack() as stack:
        server, broker = start(stack, ["-m", "mqlight.server", "--port", "0", "--no-console"], r"(amqp://\S+:\d+)")
        pids = {"server": [server], "back ends": [], "front end": []}
        for _ in range(options.workers):
            pids["back ends"].append(start(stack, ["-m", "backend"], r"( serves )", MACAQUE_BROKER=broker)[0])
        environ = {"MACAQUE_BROKER": broker, "PORT": "0", "FRONTEND_RATE_PER_ADDRESS": "100000"}
        front_end, url = start(stack, ["-m", "frontend"], r"The page is at (\S+)", **environ)
        pids["front end"].append(front_end)
        browser = Browser(url)
        while browser.ask("GET", "/readyz")[1].status != 200:
            time.sleep(0.05)
        for name, fetch in [("one a request", one)] + ([] if options.one_only else [("up to 200", Many())]):
            before = {of: sum(map(processor_seconds, each)) for of, each in pids.items()}
            own = time.process_time()
            took = [browser.seconds(options.words, fetch) for _ in range(options.rounds)]
            best, each = min(took), 1e6 / options.words / options.rounds
            spent = {of: sum(map(processor_seconds, those)) - before[of] for of, those in pids.items()}
            spent["client"] = time.process_time() - own
            print(f"{name:>14}: {options.words} words in {best:.3f} s, {options.words / best:,.0f} words/s", flush=True)
            cost = ", ".join(f"{of} {seconds * each:.0f}" for of, seconds in spent.items())
            print(f"{'':>16}processor time a word in us: {cost}; {sum(spent.values()) * each:.0f} in all", flush=True)


if __name__ == "__main__":
    main()
