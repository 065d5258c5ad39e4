from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from macaque.gateway import tokens
from macaque.gateway.tokens import Caller, Tokens, read_tokens

ANN, BOB = "ann-has-a-long-token", "bob+has/a~long.token=="


def test_a_line_has_a_name_a_token_and_topics() -> None:
    hashed = hashlib.sha256(BOB.encode())
    text = f"# callers\n\nann {ANN}\n  bob   sha256:{hashed.hexdigest().upper()} todo/# news/+\n"
    ann, bob = read_tokens(text)
    assert (ann.name, ann.patterns, bob.name, bob.patterns) == ("ann", (), "bob", ("todo/#", "news/+"))
    assert bob.digest == hashed.digest()
    assert ANN not in repr(ann) and repr(hashed.digest()) not in repr(bob)


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "it has no tokens"),
        ("# only a comment", "it has no tokens"),
        ("ann", "line 1: a line is NAME TOKEN"),
        ("\nann short", "line 2: the token has 5 characters"),
        ("ann a-token-with-ä-letter", "other characters"),
        (f"an/n {ANN}", "the name an/n"),
        (f"ann {ANN} macaque/#", "private"),
        (f"ann {ANN}\nbob {ANN}", "line 2: its token is also that of ann"),
        ("ann sha256:12", "other characters"),
    ],
)
def test_a_wrong_line_is_named_without_its_token(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        read_tokens(text)
    assert ANN not in str(raised.value)


def test_a_token_finds_its_caller(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"ann {ANN}\n")
    valid = Tokens(str(file), BOB)
    assert valid
    assert [found.name if (found := valid.find(each)) else None for each in (ANN, BOB, "", "other")] == [
        "ann",
        "caller",
        None,
        None,
    ]
    assert not Tokens() and Tokens().find("") is None and Tokens().still_valid(Caller("anyone"))


def test_a_changed_file_counts_and_a_broken_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tokens, "LOOK", 0.0)
    file = tmp_path / "tokens"
    file.write_text(f"ann {ANN}\nbob {BOB}\n")
    file.chmod(0o600)
    valid = Tokens(str(file))
    ann = valid.find(ANN)
    assert ann is not None and not caplog.records
    file.write_text("ann\n")
    assert valid.find(ANN) == ann and valid.find(BOB)
    assert "line 1: a line is NAME TOKEN" in caplog.text
    file.unlink()
    assert valid.find(ANN) == ann and valid.find(ANN) == ann
    assert caplog.text.count("cannot be used") == 2, "each state of the file is logged once"
    replacement = tmp_path / "new"
    replacement.write_text(f"bob {BOB} todo/#\n")
    os.replace(replacement, file)
    assert valid.find(ANN) is None and not valid.still_valid(ann)
    bob = valid.find(BOB)
    assert bob is not None and bob.patterns == ("todo/#",) and valid.still_valid(bob)


def test_a_file_that_others_may_read_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"ann {ANN}\n")
    file.chmod(0o644)
    Tokens(str(file))
    assert "chmod 600" in caplog.text


def test_tokens_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="MACAQUE_GATEWAY_TOKEN cannot be used: the token has 5 characters"):
        Tokens(None, "short")
    with pytest.raises(ValueError, match="No such file"):
        Tokens(str(tmp_path / "missing"))
