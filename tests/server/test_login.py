"""Logins without a socket: the users file, certificates, and the cost of a password."""

from __future__ import annotations

import logging
from pathlib import Path

import gevent
import pytest
from gevent.event import AsyncResult

from mqlight.server.access import Visitor
from mqlight.server.limits import Limits
from mqlight.server.login import Logins
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.sasl import Identity
from mqlight.server.users import UsersFile, set_password

ANONYMOUS, EXTERNAL = Identity("ANONYMOUS"), Identity("EXTERNAL")
RIGHT, WRONG, NOBODY = (Identity("PLAIN", *login) for login in (("fish", "swim"), ("fish", "fly"), ("x", "swim")))
NEAR = Visitor("127.0.0.1")


class Login:
    """A client that logs in; ``answer`` is what it is told later."""

    def __init__(self, visitor: Visitor = NEAR) -> None:
        self.visitor = visitor
        self.closed = False
        self.answer: AsyncResult[User | str | None] = AsyncResult()

    def decided(self, answer: User | str | None) -> None:
        self.answer.set(answer)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    set_password(str(path), "fish", "swim")
    path.write_text(path.read_text() + "bird certificate\nbird send a/#\nanonymous send b\n")
    return path


@pytest.fixture
def door(users: Path) -> Logins:
    return Logins(UsersFile(str(users)), True, (), Limits(login_time=1.0))


def told(door: Logins, identity: Identity) -> User | str | None:
    """Return the verdict, which is told later."""
    login = Login()
    assert door.check(login, identity) is None
    return login.answer.get(timeout=20)


def test_without_a_users_file_everybody_on_this_machine_may_do_everything() -> None:
    door = Logins(None, False, (), Limits())
    assert door.check(Login(), ANONYMOUS) == User(None, EVERYTHING)
    assert door.check(Login(), WRONG) == User("fish", EVERYTHING)
    assert isinstance(door.check(Login(Visitor("192.0.2.1")), ANONYMOUS), str)


def test_a_right_password_is_the_user_with_its_permissions(door: Logins) -> None:
    user = told(door, RIGHT)
    assert isinstance(user, User) and user.name == "fish" and user.permissions.may_send("any/topic")


def test_a_password_that_was_right_is_not_computed_again(door: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    told(door, RIGHT)
    monkeypatch.setattr(door, "_is_right", lambda record, password: pytest.fail("computed again"))
    assert isinstance(told(door, RIGHT), User)


@pytest.mark.parametrize("identity", [WRONG, NOBODY])
def test_a_wrong_password_and_an_unknown_user_are_told_the_same(door: Logins, identity: Identity) -> None:
    assert told(door, identity) == "wrong user or password; the answer waits 0.25 s"


def test_a_certificate_is_its_user_also_for_anonymous(door: Logins) -> None:
    visitor = Visitor("192.0.2.1", tls=True, certificate="bird")
    for identity in EXTERNAL, ANONYMOUS:
        user = door.check(Login(visitor), identity)
        assert isinstance(user, User) and user.name == "bird" and not user.permissions.may_send("c")
    unknown = Visitor("192.0.2.1", tls=True, certificate="cat")
    assert 'no line "cat certificate"' in str(door.check(Login(unknown), EXTERNAL))


def test_an_anonymous_client_may_do_what_the_file_says(door: Logins) -> None:
    user = door.check(Login(), ANONYMOUS)
    assert isinstance(user, User) and user.name is None
    assert user.permissions.may_send("b") and not user.permissions.may_send("a")


def test_a_client_that_left_meanwhile_is_told_nothing(door: Logins) -> None:
    login = Login()
    assert door.check(login, RIGHT) is None
    login.closed = True
    with pytest.raises(gevent.Timeout):
        login.answer.get(timeout=0.2)


def test_a_fault_of_the_server_ends_the_login_and_is_logged(
    door: Logins, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(record: object, password: str) -> bool:
        raise RuntimeError("no memory")

    monkeypatch.setattr(door, "_is_right", fails)
    with caplog.at_level(logging.ERROR):
        assert told(door, RIGHT) is None
    assert "a fault of the server ends this login" in caplog.text


def test_a_users_file_that_changes_names_those_that_it_changes(door: Logins, users: Path) -> None:
    assert not door.changed()("fish")
    users.write_text(users.read_text() + "bird send c\n")
    changed = door.changed()
    assert changed("bird") and not changed("fish")
