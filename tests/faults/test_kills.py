"""kill -9 of the server and of the workers, in the midst of a stream of calls."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

import macaque
from faults.resilient import ROUNDS, Resilient
from faults.stream import Stream, seconds_to_answer
from processes import Process

CALLS = 2000


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_server_killed_ten_times_loses_no_call(
    durable: Resilient,
    workers: Callable[..., Process],
    caller: Callable[[str], macaque.Client],
    recovered: Callable[[str, float], None],
    seed: int,
) -> None:
    chance = random.Random(seed)
    workers(durable.url)
    durable.wait_until_kept("echo")
    client = caller(durable.url)
    stream = Stream(client, "echo", CALLS)
    for kill in range(10):
        stream.wait_for(kill * CALLS // 10 + chance.randrange(CALLS // 20))
        durable.kill()
        durable.start()
        recovered("the server was killed", seconds_to_answer(client, "echo"))
    stream.check()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_workers_killed_every_100_ms_lose_no_call(
    durable: Resilient, workers: Callable[..., Process], caller: Callable[[str], macaque.Client], seed: int
) -> None:
    nursery = workers(durable.url, count=3, pause=0.015)
    stream = Stream(caller(durable.url), "echo", CALLS)
    done = threading.Event()
    killed = 0

    def kill() -> None:
        nonlocal killed
        chance = random.Random(seed)
        while not done.wait(0.1):
            started = re.findall(r"^worker (\d+)$", nursery.log(), re.MULTILINE)
            alive = [pid for pid in started if os.path.exists(f"/proc/{pid}")]
            if not alive:
                continue
            with suppress(ProcessLookupError):  # the one that was killed before may just have gone
                os.kill(int(chance.choice(alive)), signal.SIGKILL)
                killed += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        stream.check()
    finally:
        done.set()
        killer.join()
    assert killed >= 10 and len(stream.workers) > 5
