"""The deliveries that a receiver marks, and the mark on the wire."""

from __future__ import annotations

import pytest

from amqp.pair import Pair
from mqlight.amqp.capabilities import Marks, marks_of
from mqlight.amqp.message import Message, encode, first_acquirer, header
from mqlight.amqp.types import Outcome


@pytest.mark.parametrize("marks", Marks)
def test_capabilities_say_which_deliveries_are_marked(marks: Marks) -> None:
    assert marks_of(("queue", *marks.capabilities)) is marks


def test_a_mark_is_heard_and_settles_nothing() -> None:
    pair = Pair()
    ours, theirs = pair.receiver()
    theirs.send(encode(Message(body="x", to="t")), "token")
    pair.pump()
    ((link, handle, _, _),) = pair.client.all("message")
    assert ours.mark_received(handle)
    pair.pump()
    assert pair.server.all("received") == [[theirs, "token"]]
    assert pair.server.outcomes == [] and theirs.unsettled
    link.settle(handle, Outcome.ACCEPTED)
    pair.pump()
    assert pair.server.outcomes == [("token", Outcome.ACCEPTED)]
    assert not ours.mark_received(handle)


def test_nothing_is_marked_over_a_link_that_is_gone() -> None:
    pair = Pair()
    ours, theirs = pair.receiver()
    theirs.send(encode(Message(body="x", to="t")), "token")
    pair.pump()
    ((_, handle, _, _),) = pair.client.all("message")
    theirs.detach()
    pair.pump()
    assert not ours.mark_received(handle)


@pytest.mark.parametrize("ttl", [None, 5])
@pytest.mark.parametrize("count", [0, 7])
@pytest.mark.parametrize("first", [False, True])
def test_the_header_tells_the_first_acquirer(ttl: int | None, count: int, first: bool) -> None:
    body = encode(Message(body="x", to="t"))
    assert first_acquirer(header(ttl, count, first_acquirer=first) + body) is first


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00Sp", encode(Message(body="x"))])
def test_a_message_without_a_header_may_have_been_given_to_another_one(data: bytes) -> None:
    assert first_acquirer(data) is False
