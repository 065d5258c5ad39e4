"""`macaque doctor`, as a shell would run it, against brokers that are well and others that are not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from processes import ROOT, Server

STEPS = [
    "name", "tcp", "tls", "login", "broker", "replies", "share", "send", "reply", "dead letters", "dead letters",
    "cancel", "stream", "discovery", "call", "size", "forget",
]  # fmt: skip
PASSWORD = "swim-7391"


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "macaque", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **environ},
    )


def examine(*arguments: str, status: int = 0, **environ: str) -> list[dict[str, Any]]:
    """Run the doctor, which must end with this status; return its findings."""
    done = run("--json", *arguments, **environ)
    assert done.returncode == status, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is (status == 0)
    assert all((finding["advice"] is None) == (finding["status"] == "ok") for finding in report["findings"])
    return report["findings"]  # type: ignore[no-any-return]


def failures(findings: list[dict[str, Any]]) -> dict[str, str]:
    return {finding["step"]: finding["said"] for finding in findings if finding["status"] == "failed"}


def of(user: str, url: str, password: str = PASSWORD) -> str:
    return url.replace("://", f"://{user}:{password}@")


def tls(started: Callable[..., Server], certificate: str) -> str:
    return started("--tls-cert", certificate, "--tls-key", certificate).url.replace("0.0.0.0", "127.0.0.1")
