"""The topics that a user may send to and subscribe to."""

from __future__ import annotations

import pytest

from mqlight.server.permissions import EVERYTHING, Permissions, User


def test_a_topic_is_allowed_by_any_of_the_patterns() -> None:
    permissions = Permissions(send=("a/#", "b"))
    topics = ("a", "a/x/y", "b", "b/c", "c", "#")
    assert [topic for topic in topics if permissions.may_send(topic)] == ["a", "a/x/y", "b"]
    assert EVERYTHING.may_send("#") and EVERYTHING.may_subscribe("#")
    assert not Permissions().may_send("a") and not Permissions().may_subscribe("a")


@pytest.mark.parametrize(
    ("client_id", "mine"),
    [("x", "r/x"), ("x/y", "r/x/y"), ("#", None), ("+", None), ("a/#", None), ("", None), ("{client}", "r/{client}")],
)
def test_a_client_opens_one_topic_with_its_id_whatever_it_calls_itself(client_id: str, mine: str | None) -> None:
    permissions = Permissions(("a",), ("r/{client}", "b")).of_client(client_id)
    assert permissions.may_send("a") and permissions.may_subscribe("b")
    assert permissions.subscribe == (("b",) if mine is None else (mine, "b"))
    for other in ("r/other", "r/+", "#"):
        assert not permissions.may_subscribe(other)


def test_a_refusal_says_who_what_and_how_to_allow_it() -> None:
    condition = User("fish", Permissions()).refusal("send", "a")
    assert condition.name == "amqp:not-allowed" and " 2035 " in condition.description
    assert "the user 'fish' may not send to 'a'" in condition.description
    assert '"fish send PATTERN"' in condition.description
    assert '"anonymous subscribe PATTERN"' in User(None, Permissions()).refusal("subscribe", "a").description
