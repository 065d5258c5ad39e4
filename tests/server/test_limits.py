"""Every limit has its flag, its line in the manual, and an error that names it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import pytest

from mqlight.server.limits import Limits
from processes import ROOT

PAGE = (ROOT / "docs/server.md").read_text(encoding="utf-8")


def test_the_manual_and_the_help_have_every_flag() -> None:
    command = [sys.executable, "-m", "mqlight.server", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=20).stdout
    flags = {word.strip("|,").partition("=")[0] for word in shown.split() if word.startswith("--")} - {"--help"}
    assert {each.metadata["flag"] for each in fields(Limits)} < flags
    assert {flag for flag in flags if f"`{flag}" not in PAGE} == set()


@pytest.mark.parametrize("each", fields(Limits), ids=lambda each: each.name)
def test_a_limit_is_named_with_its_flag_and_value(each: object) -> None:
    name: str = each.name  # type: ignore[attr-defined]
    limits = replace(Limits(), **{name: 7})
    condition = limits.reached(name, "too much")
    assert condition.name == "amqp:resource-limit-exceeded"
    assert condition.description == f"too much (the server's limit is {each.metadata['flag']} 7)"  # type: ignore[attr-defined]


def test_topics_are_measured_in_levels_and_bytes() -> None:
    limits = Limits(topic_depth=3, topic_length=10)
    for check in (limits.check_topic, limits.check_pattern):
        check("a/b/c")
        check("x" * 10)
        check("ä" * 5)
        with pytest.raises(ValueError, match="4 levels .*--max-topic-depth 3"):
            check("a/b/c/d")
        with pytest.raises(ValueError, match="12 bytes .*--max-topic-length 10"):
            check("ä" * 6)
