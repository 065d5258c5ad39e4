"""Messages to send."""

from __future__ import annotations

from mqlight.outgoing import Outgoing


def outgoing(topic: str = "t") -> Outgoing:
    return Outgoing(topic, b"message", settled=False, mandatory=True, on_outcome=None)


def test_a_message_has_not_waited_and_was_not_refused_when_it_is_made() -> None:
    message = outgoing()
    assert message.since is None and message.tries == 0


def test_two_messages_of_one_content_are_two_messages() -> None:
    """A set of messages under way must not lose one of them."""
    assert outgoing() != outgoing() and len({outgoing(), outgoing()}) == 2
