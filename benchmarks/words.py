"""How fast do the words of a sentence come back to the HTTP client? `python benchmarks/words.py [--workers 1]`.

Starts a development server, back ends and a front end. Submits sentences of 1,000 words and fetches the replies in two
ways, one a request and up to 200 a request. Prints the best of five for each.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5


def start(stack: ExitStack, arguments: list[str], pattern: str, **environ: str) -> str:
    """Start a program that ends with the stack, and return the first group of what it prints."""
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
            log = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)  # its pipe never fills
            stack.callback(log.wait)
            return found[1]
    raise SystemExit(f"{arguments} ended without {pattern!r}")


class Browser:
    """One client with a session, on one connection."""

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
        """Return how long a sentence takes from the POST to its last reply."""
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
    """Fetches up to 200 replies a request."""

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
    parser.add_argument("--one-only", action="store_true", help="for a front end that knows no `after`")
    options = parser.parse_args()
    with ExitStack() as stack:
        broker = start(stack, ["-m", "mqlight.server", "--port", "0"], r"(amqp://\S+:\d+)")
        for _ in range(options.workers):
            start(stack, ["-m", "backend"], r"( serves )", MACAQUE_BROKER=broker)
        environ = {"MACAQUE_BROKER": broker, "PORT": "0", "FRONTEND_RATE_PER_ADDRESS": "100000"}
        url = start(stack, ["-m", "frontend"], r"The page is at (\S+)", **environ)
        browser = Browser(url)
        while browser.ask("GET", "/readyz")[1].status != 200:
            time.sleep(0.05)
        for name, fetch in [("one a request", one)] + ([] if options.one_only else [("up to 200", Many())]):
            best = min(browser.seconds(options.words, fetch) for _ in range(ROUNDS))
            print(f"{name:>14}: {options.words} words in {best:.3f} s, {options.words / best:,.0f} words/s", flush=True)


if __name__ == "__main__":
    main()
