"""The handlers of a connection and of its links."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import Pair
from mqlight.amqp import Outcome


def test_a_handler_of_its_own_is_told_what_happens_on_a_link() -> None:
    pair = Pair()
    heard: list[tuple[Any, ...]] = []

    class Handler:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: heard.append((name, *arguments[1:]))

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
        ("on_outcome", "token", Outcome.RELEASED, None),
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
