"""The handlers of a connection and of its links."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair
from mqlight.amqp import Condition, Outcome


def test_a_handler_of_its_own_is_told_what_happens_on_a_link() -> None:
    pair = Pair()
    heard: list[tuple[Any, ...]] = []

    class Handler:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: heard.append((name, *arguments[1:])) or "a result that is ignored"

    link, other = pair.sender()
    link.handler = Handler()
    other.handler = Handler()
    link.send(b"m", "token")
    pair.pump()
    other.settle(heard[0][1], Outcome.RELEASED)
    other.flow(1)
    pair.pump()
    other.detach()
    pair.pump()
    assert heard == [
        ("on_message", 0, b"m", False),
        ("on_outcomes", ["token"], Outcome.RELEASED, None),
        ("on_credit",),
        ("on_detach", True, None),
        ("on_detach", True, None),
    ]
    assert pair.client.messages == pair.server.messages == [] and pair.client.all("detach") == []


def test_links_without_a_handler_have_that_of_the_engine() -> None:
    pair = Pair()
    for link in (*pair.sender(), *pair.receiver()):
        assert link.handler is (pair.client if link in pair.client.engine.links() else pair.server)


def test_what_a_handler_raises_comes_out_of_receive() -> None:
    pair = Pair()
    link, _ = pair.sender()

    def fail(*_: object) -> None:
        raise LookupError("a fault of the handler")

    pair.server.on_message = fail  # type: ignore[method-assign]
    link.send(b"m")
    with pytest.raises(LookupError, match="a fault of the handler"):
        pair.pump()


def test_events_come_in_the_order_of_their_frames() -> None:
    pair = Pair()
    link, other = pair.receiver()
    other.send(b"first", 1)
    pair.pump()
    other.send(b"second", 2)
    other.detach()
    pair.server.engine.close()
    pair.pump()
    names = [name for name, *_ in pair.client.heard]
    assert names == ["open", "attach", "message", "message", "detach", "close"]


def test_a_handler_accepts_a_message_by_its_return_value() -> None:
    class Accepting:
        def __getattr__(self, name: str) -> object:
            return lambda link, handle, data, settled: data == b"good"

    pair = Pair()
    link, other = pair.sender()
    other.handler = Accepting()  # type: ignore[assignment]
    link.send(b"good", 1)
    link.send(b"good", settled=True)
    link.send(b"bad", 2)
    link.send(b"good", 3)
    pair.pump()
    assert pair.client.outcomes == [(1, Outcome.ACCEPTED), (3, Outcome.ACCEPTED)]
    assert list(link.unsettled.values()) == [2] and len(other.held) == 1


def test_a_message_is_not_accepted_over_a_link_that_its_handler_ended() -> None:
    class Failing:
        def __getattr__(self, name: str) -> object:
            return lambda link, *_: link.fail(Condition("amqp:internal-error", "no")) or True

    pair = Pair()
    link, other = pair.sender()
    other.handler = Failing()  # type: ignore[assignment]
    pair.client.heard.clear()
    link.send(b"m", 1)
    link.send(b"m", 2)
    pair.pump()
    assert pair.client.outcomes == [] and pair.client.one("detach")[-1] == [1, 2]


def test_a_handler_may_return_what_settle_returns() -> None:
    class Rejecting:
        def __getattr__(self, name: str) -> object:
            return lambda link, handle, *_: link.settle(handle, Outcome.RELEASED)

    pair = Pair()
    link, other = pair.sender()
    other.handler = Rejecting()  # type: ignore[assignment]
    link.send(b"m", 1)
    link.send(b"m", 2)
    pair.pump()
    assert pair.client.outcomes == [(1, Outcome.RELEASED), (2, Outcome.RELEASED)] and not other.held
