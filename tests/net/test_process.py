from __future__ import annotations

import subprocess
import sys

import pytest

from mqlight.net.process import end_process
from processes import ROOT

PROGRAM = """
import atexit, threading
from mqlight.net.process import end_process

def callback():
    print("said", end="")
    try:
        exit({code})
    except SystemExit as error:
        end_process(error)

atexit.register(lambda: print(", and tidied up", end=""))
threading.Thread(target=callback, daemon=True).start()
threading.Event().wait(20)
"""


@pytest.mark.parametrize(("code", "status", "told"), [("", 0, ""), ("3", 3, ""), ("'no fish'", 1, "no fish\n")])
def test_exit_in_a_thread_ends_the_program_as_exit_in_the_main_thread_does(code: str, status: int, told: str) -> None:
    command = [sys.executable, "-c", PROGRAM.format(code=code)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "said, and tidied up", told)


def test_in_the_main_thread_it_is_raised_on() -> None:
    with pytest.raises(SystemExit) as caught:
        end_process(SystemExit(4))
    assert caught.value.code == 4
