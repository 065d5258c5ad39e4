"""The users file: its lines, its passwords, and how it is replaced."""

from __future__ import annotations

import errno
import os
import pty
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mqlight.server.users import PasswordRecord, Users, UsersError, UsersFile, hashed, set_password
from processes import ROOT, wait_until

KEPT = hashed("swim")


def test_a_password_is_known_by_its_hash_and_no_other_is() -> None:
    assert PasswordRecord.parse(KEPT).is_made_of("swim")
    assert not PasswordRecord.parse(KEPT).is_made_of("Swim")
    assert KEPT.startswith("scrypt:16384:8:1:") and "swim" not in KEPT
    assert hashed("swim") != KEPT, "each has a salt of its own"


def knows(users: Users, name: str, password: str) -> bool:
    record = users.password_of(name)
    return record is not None and record.is_made_of(password)


def test_a_user_may_do_what_its_lines_and_those_of_everybody_say() -> None:
    users = Users.parse(f"# who\n\nfish password {KEPT}\nfish send a b/#\n  fish\tsubscribe c\n* send news\nx send y\n")
    fish = users.user("fish")
    assert fish.permissions.send == ("a b/#", "news") and fish.permissions.subscribe == ("c",)
    assert users.user("nobody").permissions.send == ("news",)
    assert users.user(None).permissions.send == ("news",)
    assert knows(users, "fish", "swim") and not knows(users, "fish", "fly")
    assert not knows(users, "x", "") and not knows(users, "nobody", "")


def test_a_certificate_lets_in_whom_a_line_names() -> None:
    users = Users.parse("fish certificate\n* send a\n")
    assert users.has_certificate("fish") and not users.has_certificate("bird")
    assert Users.parse("* certificate\n").has_certificate("bird")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("fish", "the second word must be password, certificate, admin, send or subscribe"),
        ("fish swim", "the second word must be"),
        ("fish password swim", "the password of 'fish' is not as"),
        ("fish password scrypt:16384:8:1:x:y", "the password of 'fish' is not as"),
        (f"fish password {KEPT.replace('16384', '1073741824')}", "the password of 'fish' is not as"),
        (f"fish password {KEPT.replace('16384', '16383')}", "the password of 'fish' is not as"),
        (f"fish password {KEPT}\nfish password {KEPT}", "has a password already"),
        (f"anonymous password {KEPT}", "anonymous cannot have a password"),
        (f"* password {KEPT}", "cannot have a password"),
        ("fish certificate x", 'write "fish certificate"'),
        ("fish admin x", 'write "fish admin"'),
        ("fish send", "topic pattern is empty"),
        ("fish subscribe " + "#/" * 20, "more than 16 levels"),
    ],
    ids=lambda text: text.replace(KEPT.partition("8:1:")[2], "..."),
)
def test_a_line_that_makes_no_sense_is_named_by_its_number_and_never_shown(line: str, reason: str) -> None:
    with pytest.raises(UsersError) as caught:
        Users.parse("# a comment\n" + line)
    assert reason in str(caught.value)
    assert f"line {line.count(chr(10)) + 2}: " in str(caught.value)
    assert "swim" not in str(caught.value) and KEPT not in str(caught.value)


def test_setting_a_password_leaves_all_other_lines_alone(tmp_path: Path) -> None:
    file = tmp_path / "users"
    assert set_password(str(file), "fish", "swim")
    assert set_password(str(file), "bird", "fly")
    lines = file.read_text().splitlines()
    assert lines[1:3] == ["fish send #", "fish subscribe #"]
    lines[1:3] = ["# narrow", "fish send a"]
    file.write_text("\n".join(lines))
    assert not set_password(str(file), "fish", "dive")
    after = file.read_text().splitlines()
    assert after[1:] == lines[1:] and after[0] != lines[0]
    assert knows(Users.parse(file.read_text()), "fish", "dive")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["users"]


def test_a_users_file_that_is_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "users")
    set_password(str(tmp_path / "link"), "fish", "swim")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "users").exists()


@pytest.mark.parametrize("name", ["", "a b", "#a", "*", "anonymous", "a\n", "a\x00"])
def test_a_name_that_no_user_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsersError):
        set_password(str(tmp_path / "users"), name, "swim")
    assert not (tmp_path / "users").exists()


def test_a_control_character_in_a_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsersError, match=r"'a\\x1bb' cannot be a user: it has the control character U\+001B at 1$"):
        set_password(str(tmp_path / "users"), "a\x1bb", "swim")


def test_a_file_that_is_broken_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("nonsense\n")
    with pytest.raises(UsersError, match="line 1"):
        set_password(str(file), "fish", "swim")
    assert file.read_text() == "nonsense\n"


def test_no_secret_is_in_a_repr() -> None:
    users = Users.parse(f"fish password {KEPT}\n")
    assert KEPT.split(":")[-1] not in f"{users!r} {vars(users)!r}"


def test_a_file_is_read_again_when_it_has_changed_and_an_error_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("a send b\n")
    file = UsersFile(str(path))
    assert file.refresh() is None
    path.write_text("a send c\nb send d\n")
    before = file.refresh()
    assert before is not None and not before.same(file.users, "a") and before.same(file.users, "c")
    path.write_text("nonsense here\n")
    with pytest.raises(UsersError):
        file.refresh()
    assert file.refresh() is None and file.users.user("a").permissions.send == ("c",)
    path.unlink()
    with pytest.raises(UsersError, match="No such file"):
        file.refresh()
    assert file.refresh() is None


def test_a_file_that_could_not_be_read_is_read_again_until_it_can(tmp_path: Path) -> None:
    """Although nothing of it has changed meanwhile."""
    path = tmp_path / "users"
    path.write_text("a send b\nc send d\n")
    file = UsersFile(str(path))
    path.write_text("a send b\n")
    text = file._text
    failures = [OSError(errno.EIO, "Input/output error"), OSError(errno.EIO, "Input/output error")]

    def failing() -> str:
        if failures:
            raise failures.pop()
        return text()

    file._text = failing  # type: ignore[method-assign]
    with pytest.raises(UsersError, match="Input/output error"):
        file.refresh()
    assert file.refresh() is None and file.users.user("c").permissions.send == ("d",)
    assert file.refresh() is not None and file.users.user("c").permissions.send == ()
    assert file.refresh() is None


def test_a_file_is_read_where_no_descriptor_is_left(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("a send b\n")
    file = UsersFile(str(path))
    path.write_text("c send d\n")
    other = tmp_path / "other"
    other.write_text("e send f\n")
    taken: list[int] = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[0]), limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        assert file.refresh() is not None
        other.replace(path)
        assert file.refresh() is not None, "the descriptor for that is there again"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)
    assert file.users.user("e").permissions.send == ("f",)


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("a send b\n")
    file = UsersFile(str(path))
    path.write_text("a send c\n")
    text = file._text

    def written_meanwhile() -> str:
        found = text()
        path.write_text("a send c\nb send d\n")
        return found

    file._text = written_meanwhile  # type: ignore[method-assign]
    with pytest.raises(UsersError, match="it changes while it is read"):
        file.refresh()
    file._text = text  # type: ignore[method-assign]
    assert file.refresh() is not None and file.users.user("b").permissions.send == ("d",)


def test_the_command_reads_a_password_from_standard_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mqlight.server", "passwd", str(tmp_path / "users"), "fish"]
    done = subprocess.run(command, input="swim\n", text=True, capture_output=True, cwd=ROOT, timeout=20)
    assert done.returncode == 0 and "fish may send to and subscribe to every topic" in done.stdout
    assert knows(Users.parse((tmp_path / "users").read_text()), "fish", "swim")
    done = subprocess.run(command, input="\n", text=True, capture_output=True, cwd=ROOT, timeout=20)
    assert (done.returncode, done.stderr) == (2, "the password is empty; give at least one character\n")


def test_the_command_asks_twice_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mqlight.server", "passwd", str(tmp_path / "users"), "fish"]
    try:
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True
        )
        seen = b""
        for prompt in (b"password for fish: ", b"again: "):
            while prompt not in seen:
                seen += os.read(ours, 1000)
            os.write(ours, b"swim\n")
        assert process.wait(20) == 0
    finally:
        os.close(theirs)
        os.close(ours)
    assert b"swim" not in seen
    wait_until(lambda: knows(Users.parse((tmp_path / "users").read_text()), "fish", "swim"))
