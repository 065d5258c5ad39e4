"""`macaque` as a shell would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from processes import ROOT


class Command:
    """`python -m macaque` with arguments, as a shell would run it."""

    def __init__(self, *arguments: str, stdin: str = "", broker: str = "", cwd: Path = ROOT) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "macaque", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            cwd=cwd,
            env={"PYTHONPATH": str(ROOT), "MACAQUE_BROKER": broker, "LC_ALL": "C.UTF-8"},
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def failed(self, code: int) -> str:
        """The one line that says why."""
        assert (self.code, self.out) == (code, "")
        assert self.err.startswith("macaque: ") and self.err.count("\n") == 1, self.err
        return self.err
