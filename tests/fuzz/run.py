"""The coverage-guided fuzzer: `make fuzz TARGET=server RUNS=100000`, or `python tests/fuzz/run.py TARGET [option...]`.

Options are libFuzzer's (`-max_total_time=`, `-seed=` ...). A fault, a crash of Proton's C code included, leaves its
input as build/fuzz/TARGET-crash-*, -oom-* or -timeout-*; give such a file's name as the only option to see it again,
with `-minimize_crash=1 -runs=10000` to make it smaller. Inputs that reached new code are kept in build/fuzz/TARGET/.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import atheris
import msgspec

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

with atheris.instrument_imports(include=["mqlight", "macaque", "fuzz.targets", "fuzz.peers"]):
    from fuzz.targets import TARGETS

from fuzz.frames import changed_values, conversation, mutate, sasl, welcome  # noqa: E402  # after sys.path
from mqlight.amqp.fast_messages import text_body  # noqa: E402
from mqlight.amqp.message import Message, MessageError, decode, encode  # noqa: E402

SPOKEN = {"engine_server": b"", "engine_client": welcome(), "server": sasl(), "session": welcome()}
"""The targets whose input is a byte and then frames, and what comes before AMQP there."""

VALUES = ("value", "message", "envelope")


def mutator(greeting: bytes) -> Callable[[bytes, int, int], bytes]:
    """Return a function that makes one input of another: mostly frame by frame, sometimes as libFuzzer does."""

    def change(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.2:
            return bytes(atheris.Mutate(data, most))
        first = data[:1] if random.random() < 0.8 and data else bytes((random.randrange(256),))
        if len(data) < 20 or random.random() < 0.02:
            rest = (greeting if random.random() < 0.9 else b"") + conversation(random)
        else:
            rest = mutate(data[1:], random)
        return (first + rest)[:most]

    return change


def values_mutator(data: bytes, most: int, seed: int) -> bytes:
    """For values and messages: half of them as libFuzzer does, half value by value, or in the text of a body."""
    random = Random(seed)
    kind = random.randrange(5)
    if kind < 2:
        return changed_values(data, random)[:most]
    text = text_body(data)
    if kind == 2 and text is not None and len(text) < most - 60:
        message = decode_leniently(data)
        if message is not None:
            body = atheris.Mutate(text, most - 60).decode("utf-8", "replace")
            return encode(msgspec.structs.replace(message, body=body))[:most]
    return bytes(atheris.Mutate(data, most))


def decode_leniently(data: bytes) -> Message | None:
    try:
        return decode(data)
    except MessageError:
        return None


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"fuzz: name a target, one of {', '.join(TARGETS)}")
    target = sys.argv.pop(1)
    found = ROOT / "build" / "fuzz" / target
    found.mkdir(parents=True, exist_ok=True)
    options = sys.argv[1:]
    defaults = [f"-artifact_prefix={found.parent}/{target}-", "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024"]
    if target in SPOKEN:
        defaults.append("-len_control=0")
    folders = [str(found), str(ROOT / "tests" / "fuzz" / "corpus" / target)]
    named = [option for option in options if not option.startswith("-")]
    logging.disable()
    arguments = [sys.argv[0], *defaults, *options, *([] if named else folders)]
    change = mutator(SPOKEN[target]) if target in SPOKEN else values_mutator if target in VALUES else None
    atheris.Setup(arguments, TARGETS[target], **({"custom_mutator": change} if change else {}))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
