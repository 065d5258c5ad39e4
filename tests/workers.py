"""The workers of `macaque run --workers` and `--reload`."""

from __future__ import annotations

import re
from pathlib import Path

from processes import Process, Server, Spawn

SERVICES = """
import os
import sys
import time
import macaque

app = macaque.Server()


@app.service("who", share_id="w", credit=1)
def who(data):
    if data == "exit":
        sys.exit(3)
    if data == "slow":
        print("slow begins", flush=True)
        time.sleep(1.5)
    return os.getpid()
"""


def run(spawn: Spawn, server: Server, folder: Path, *options: str) -> Process:
    command = ["-m", "macaque", "run", "services:app", "--broker", server.url, *options]
    return spawn(command, cwd=folder)


def workers(process: Process, count: int) -> list[int]:
    """Wait until so many workers serve, and return their process numbers in the order of their starts."""
    process.expect(rf"(.*serves who[^\n]*\n(.*\n)*){{{count}}}")
    return [int(number) for number in re.findall(r"worker \d+ is process (\d+)", process.log())]
