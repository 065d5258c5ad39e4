"""The connection cut after each single byte of a conversation, in memory: hundreds of cuts take a second."""

from __future__ import annotations

from typing import Any

import pytest

from amqp.pair import End
from faults.proxy import Way
from mqlight.amqp.engine import Engine
from mqlight.amqp.types import Outcome
from mqlight.outgoing import Outgoing
from mqlight.protocol import ClientProtocol
from mqlight.subscription import Subscription

SENT = [f"sent {number}" for number in range(6)]


class Conversation:
    """A session that sends six messages at least once and listens, and the servers that it meets one after another."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, Outcome]] = []
        self.arrived: list[bytes] = []
        self.subscribed: list[Exception | None] = []
        self.passed = dict.fromkeys(Way, 0)
        self.protocol = ClientProtocol(on_state=lambda connected, error: None, on_room=lambda: None)
        self.subscription = Subscription(
            "news", None, qos=1, ttl=60, credit=4, on_message=lambda *_: None, on_subscribed=self.subscribed.append
        )
        self.protocol.subscriptions.subscribe(self.subscription)
        for text in SENT:

            def told(outcome: Outcome, condition: Any, text: str = text) -> None:
                self.outcomes.append((text, outcome))

            self.protocol.senders.send(Outgoing("t", text.encode(), False, False, told))

    def connect(self, way: Way | None = None, cut: int | None = None) -> None:
        """Talk to a new server until neither has anything to say, or ``cut`` bytes have gone one way; then hang up."""
        server = End(server=True, offered=("ANONYMOUS-RELAY",))
        client = Engine(self.protocol, server=False, container_id="c")
        self.protocol.begin(client)
        self.passed = dict.fromkeys(Way, 0)
        settled = 0
        talking = True
        while talking:
            talking = False
            for direction, giver, taker in ((Way.UP, client, server), (Way.DOWN, server, client)):
                while data := giver.output():
                    room = len(data) if direction is not way or cut is None else cut - self.passed[direction]
                    taker.receive(data[:room])
                    giver.sent(len(data))
                    self.passed[direction] += min(room, len(data))
                    talking = True
                    if room < len(data):
                        return self._hang_up(client, server)
            for link, handle, *_ in server.all("message")[settled:]:
                link.settle(handle, Outcome.ACCEPTED)
                settled += 1
                talking = True
        self._hang_up(client, server)

    def _hang_up(self, client: Engine, server: End) -> None:
        client.end_of_input()
        self.protocol.end()
        self.arrived += server.messages


@pytest.mark.parametrize("way", Way)
def test_a_connection_cut_after_any_byte_loses_no_message_and_no_subscription(way: Way) -> None:
    whole = Conversation()
    whole.connect()
    length = whole.passed[way]
    assert length > 200
    for cut in range(length):
        talk = Conversation()
        talk.connect(way, cut)
        talk.connect()
        assert sorted(talk.outcomes) == [(text, Outcome.ACCEPTED) for text in SENT], f"cut after {cut} bytes"
        assert list(dict.fromkeys(talk.arrived)) == [text.encode() for text in SENT], f"cut after {cut} bytes"
        assert talk.subscribed == [None] and talk.protocol.subscriptions.active == [talk.subscription]
        assert talk.protocol.senders.outstanding == talk.protocol.senders.waiting == 0
