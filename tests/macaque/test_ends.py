from __future__ import annotations

import threading

import pytest

from macaque import ends
from macaque.ends import Ends


def test_the_first_end_is_the_one_that_counts_and_earlier_ones_can_be_forgotten() -> None:
    found = Ends(lambda: None)
    found.put()
    found.forget()
    error = ConnectionError("gone")
    found.put(error)
    found.put()
    assert found.wait() is error


def test_an_exit_is_an_end_while_run_waits() -> None:
    found = Ends(lambda: None)
    found.awaited = True
    wanted = SystemExit(3)
    found.exit(wanted)
    assert found.wait() is wanted


def test_an_exit_without_run_closes_the_server_and_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    ended = threading.Event()

    def end_process(wanted: SystemExit) -> None:
        done.append(wanted.code)
        ended.set()

    monkeypatch.setattr(ends, "end_process", end_process)
    Ends(lambda: done.append("closed")).exit(SystemExit(3))
    assert ended.wait(10) and done == ["closed", 3]
