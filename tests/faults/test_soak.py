"""`make soak` in small: it works, and can fail."""

from __future__ import annotations

from processes import Spawn


def test_a_small_soak_finds_nothing(spawn: Spawn) -> None:
    soak = spawn(["benchmarks/soak.py", "--calls", "1000", "--visitors", "2"])
    assert soak.wait(60) == 0, soak.log()
    last = soak.log().splitlines()[-1]
    assert "1000 calls" in last and "front end" in last
