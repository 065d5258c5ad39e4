"""The links that carry messages."""

from __future__ import annotations

from amqp.pair import Pair
from mqlight.outgoing import Outgoing
from mqlight.sender import Sender


def outgoing(topic: str = "t") -> Outgoing:
    return Outgoing(topic, b"message", settled=False, mandatory=True, on_outcome=None)


def sender_of(topic: str | None) -> Sender:
    link, _ = Pair().sender(topic)
    return Sender(topic, topic is None, link)


def test_a_sender_has_no_credit_and_no_messages_at_first() -> None:
    sender = sender_of(None)
    assert (sender.topic, sender.mandatory, sender.credit) == (None, True, 0)
    assert not sender.waiting and sender.readdress is None


def test_messages_wait_in_their_order() -> None:
    sender = sender_of("t")
    first, second = outgoing(), outgoing()
    sender.waiting.append(first)
    sender.waiting.append(second)
    assert sender.waiting.popleft() is first and list(sender.waiting) == [second]
