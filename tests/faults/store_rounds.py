"""Kills processes that write to a store, looks at what they leave, and says as JSON what it saw.

    store_rounds.py random ROUNDS SEED FOLDER     at random moments, all of them writing to one store
    store_rounds.py changes TEAR FOLDER           at the 1st, 2nd, ... change to its files, each beginning with none;
                                                  needs write_shim.c preloaded, its path in the variable SHIM

A process says before a batch what is in it and after its commit that it is there. Then a store has to have what
was said to be there, and the batch that was begun either whole or not at all. Exit code 1, with the reason, if not.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from mqlight.server.destination import Destination, DestinationName
from mqlight.server.journal import Batch, Put, Receipt
from mqlight.server.publication import Publication
from mqlight.server.queued import Stored
from mqlight.server.store import FILE, Store

Messages = dict[int, int]
"""Delivery counts by sequence."""
RECEIPT = Receipt(lambda condition: None)


def destination() -> Destination:
    made = Destination(DestinationName("a/#", share="s"), 1)
    made.ttl = 60.0
    return made


def body(sequence: int) -> bytes:
    """The bytes of the message of that sequence: a few, some, or many pages of the file."""
    return b"%d " % sequence * (sequence * 7919 % (1500 if sequence % 10 == 0 else 60) + 1)


class Writer:
    """Gives batches to a store, and says so in lines into a file that it got open."""

    def __init__(self, folder: Path, said: int) -> None:
        self.said = said
        self.store = Store(folder)
        self.messages = {message.sequence: message.count for _, message in self.store.load()[1]}
        self.last = max(self.messages, default=0)

    def say(self, **what: Any) -> None:
        os.write(self.said, json.dumps(what).encode() + b"\n")

    def commit(self, puts: int, removed: list[int], counts: Messages) -> None:
        sequences = list(range(self.last + 1, self.last + 1 + puts))
        self.last += puts
        self.say(puts=sequences, removed=removed, counts=counts)
        batch = Batch()
        batch.destinations[destination()] = None
        for sequence in sequences:
            message = Stored.of(Publication("a", None, False, 0, 4, body(sequence)), None, sequence)
            batch.puts[sequence] = Put(destination(), message, RECEIPT, 0.0)
        batch.removed, batch.counts = set(removed), counts
        self.store.write(batch)
        self.store.commit()
        self.say(done=True)
        self.messages = applied(self.messages, {"puts": sequences, "removed": removed, "counts": counts})


def write_for_ever(folder: Path, chance: random.Random, said: int) -> None:
    writer = Writer(folder, said)
    while True:
        there = writer.messages
        removed = [s for s in there if chance.random() < (0.6 if len(there) > 200 else 0.2)]
        counts = {s: n + 1 for s, n in there.items() if s not in removed and chance.random() < 0.1}
        writer.commit(chance.randrange(40), removed, counts)


def write_a_little(folder: Path, said: int) -> None:
    """All kinds of batches, what closing does to the files, and a new beginning with what is there."""
    writer = Writer(folder, said)
    writer.commit(3, [], {})
    writer.commit(12, [2], {1: 1})
    writer.commit(0, list(range(4, 12)), {3: 2})
    writer.commit(1, [], {})
    writer.store.close()
    Writer(folder, said).commit(2, [1], {3: 3})


def applied(messages: Messages, batch: dict[str, Any]) -> Messages:
    """Return the messages of a store after a batch. JSON makes the keys of objects text."""
    changed = {sequence: count for sequence, count in messages.items() if sequence not in batch["removed"]}
    changed |= {int(s): n for s, n in batch["counts"].items() if int(s) in changed}
    return changed | dict.fromkeys(batch["puts"], 0)


def found(folder: Path) -> Messages:
    """Return the messages of a store. Raises SystemExit if the store is damaged."""
    with closing(Store(folder)) as store:
        _, messages = store.load()
    sequences = [message.sequence for _, message in messages]
    if sequences != sorted(set(sequences)):
        raise SystemExit(f"the order is wrong: {sequences}")
    for _, message in messages:
        if message.rest != body(message.sequence):
            raise SystemExit(f"message {message.sequence} has other bytes than it had: {message.rest[:80]!r}")
    with closing(sqlite3.connect(folder / FILE)) as db:
        if (result := db.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
            raise SystemExit(f"the file is corrupt: {result}")
    return {message.sequence: message.count for _, message in messages}


def check(where: str, said: bytes, before: Messages, after: Messages) -> tuple[Messages, int, bool]:
    """SystemExit unless ``after`` is what the lines of a killed process allow.

    Returns it, how many batches were said to be committed, and whether one more was.
    """
    safe, begun, batches = before, None, 0
    for line in said.splitlines(keepends=True):
        what = json.loads(line) if line.endswith(b"\n") else {}
        if "puts" in what:
            begun = what
        elif "done" in what and begun is not None:
            safe, begun, batches = applied(safe, begun), None, batches + 1
    if after == safe:
        return after, batches, False
    if begun is not None and after == applied(safe, begun):
        return after, batches, True
    lost = sorted(safe.keys() - after.keys())
    raise SystemExit(f"{where}: lost {lost}; there is {after}, promised was {safe}, and begun {begun}")


def run(work: Callable[[int], None], log: Path, lines: int = 0, seconds: float | None = None) -> tuple[bytes, int]:
    """Run ``work`` in a process that says what it does into ``log``; returns what it said, and its exit status.

    If ``seconds`` is given, it is killed that long after it has said so many lines.
    """
    said = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    pid = os.fork()
    if not pid:
        code = 3
        try:
            work(said)
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        deadline = time.monotonic() + 20
        while log.read_bytes().count(b"\n") < lines and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    os.close(said)
    return log.read_bytes(), status


def random_moments(rounds: int, seed: int, folder: Path) -> dict[str, int]:
    """Kill ``rounds`` processes, one after the other."""
    chance = random.Random(seed)
    messages: Messages = {}
    committed = unsaid = 0
    for number in range(rounds):
        work = partial(write_for_ever, folder / "data", random.Random(chance.random()))
        said, _ = run(work, folder / "log", chance.randrange(6), chance.uniform(0.0, 0.01))
        messages, batches, whole = check(f"round {number} of seed {seed}", said, messages, found(folder / "data"))
        committed += batches
        unsaid += whole
    return {"rounds": rounds, "committed": committed, "committed_unsaid": unsaid, "messages": len(messages)}


def every_change(tear: bool, folder: Path) -> dict[str, int]:
    """Kill a process at each change that it makes to its files, until one is through."""
    shim = ctypes.CDLL(os.environ["SHIM"])
    data, disk, log = folder / "data", folder / "disk", folder / "log"
    status, kill_at, most = -1, 0, 0
    while status:
        kill_at += 1
        for path in (data, disk):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        shim.arm(bytes(data), bytes(disk), ctypes.c_long(kill_at), tear)
        said, status = run(partial(write_a_little, data), log)
        shim.arm(b"", b"", ctypes.c_long(0), 0)
        if status not in (0, signal.SIGKILL):
            raise SystemExit(f"the process ended with {status} at change {kill_at}")
        _, batches, _ = check(f"killed at change {kill_at}", said, {}, found(data))
        check(f"power cut at change {kill_at}", said, {}, found(disk))
        most = max(most, batches)
    return {"changes": kill_at - 1, "committed": most}


if __name__ == "__main__":
    how, *rest = sys.argv[1:]
    where = Path(rest.pop())
    result = random_moments(*map(int, rest), where) if how == "random" else every_change(rest == ["1"], where)
    print(json.dumps(result))
