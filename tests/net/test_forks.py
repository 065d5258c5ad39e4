from __future__ import annotations

import subprocess
import sys

from mqlight.net.forks import MOST_KEPT, child_id
from processes import ROOT

PROGRAM = """
import os
from mqlight.net import forks

class Owner:
    def __init__(self, name):
        self.name = name
        forks.register(self, Owner.after_fork)

    def after_fork(self):
        os.write(1, self.name.encode())

socket, client, gone = Owner("socket "), Owner("client "), Owner("gone ")
del gone
if os.fork() == 0:
    os._exit(0)
os.wait()
os.write(1, b"parent")
"""


def test_in_the_child_each_owner_that_lives_is_told_and_the_user_of_another_before_it() -> None:
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30, check=True)
    assert run.stdout == "client socket parent"


def test_a_child_has_an_id_of_its_own_that_fits() -> None:
    first, second = child_id("fish"), child_id("fish")
    assert first.startswith("fish.") and first != second
    assert len(child_id("x" * 256)) <= 256 and child_id("x" * 256).startswith("x" * MOST_KEPT + ".")
