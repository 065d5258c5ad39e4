"""Hostile bytes: every target takes the corpus, and what hypothesis makes up. run.py goes on from here for hours."""

from __future__ import annotations

import gc
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.frames import changed_values, conversation, damaged, mutate, sasl, welcome
from fuzz.targets import TARGETS
from memory import resident

CORPUS = Path(__file__).parent / "corpus"
INPUTS = {target: [path.read_bytes() for path in sorted((CORPUS / target).iterdir())] for target in TARGETS}
GREETINGS = {"engine_server": b"", "engine_client": welcome(), "server": sasl(), "session": welcome()}
"""Of the targets that hear frames: what comes before AMQP."""

randoms = st.integers(0, 2**64 - 1).map(Random)


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_does_no_harm(target: str) -> None:
    assert INPUTS[target]
    for data in INPUTS[target]:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_near_the_corpus_does_no_harm(target: str) -> None:
    spoken = target in GREETINGS

    @given(randoms, st.sampled_from(INPUTS[target]), st.integers(1, 4))
    @settings(max_examples=80, deadline=None)
    def run(random: Random, data: bytes, times: int) -> None:
        for _ in range(times):
            if random.random() < 0.3:
                data = damaged(data, random)
            elif spoken:
                data = bytes((random.randrange(256),)) + mutate(data[1:], random)
            else:
                data = changed_values(data, random)
        TARGETS[target](data)

    run()


@pytest.mark.parametrize("target", GREETINGS)
@given(randoms, st.binary(min_size=1, max_size=1))
@settings(max_examples=80, deadline=None)
def test_frames_that_nearly_make_sense_do_no_harm(target: str, random: Random, first: bytes) -> None:
    TARGETS[target](first + GREETINGS[target] + conversation(random))


@pytest.mark.parametrize("target", TARGETS)
@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_bytes_that_mean_nothing_do_no_harm(target: str, data: bytes) -> None:
    TARGETS[target](data)


@pytest.mark.parametrize("target", GREETINGS)
def test_hostile_connections_that_come_and_go_leave_no_memory_behind(target: str) -> None:
    """Proton's memory is C's, so it is the process that is looked at."""
    random = Random(1)
    data = [*INPUTS[target], *(b"\x00" + GREETINGS[target] + conversation(random) for _ in range(10))]

    def connections() -> int:
        for each in data * 10:
            TARGETS[target](each)
        gc.collect()
        return resident()

    connections()
    sizes = [connections() for _ in range(9)]
    assert min(after - before for before, after in pairwise(sizes)) < 100_000, sizes
