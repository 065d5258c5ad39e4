"""Make the error for a call whose reply cannot be decoded."""

from __future__ import annotations

from macaque.envelope import BadReply, Fault, Reply
from mqlight.amqp.message import Message, MessageError, decode, decode_properties

__all__ = ["UNREADABLE", "unreadable"]

UNREADABLE = "unreadable"
"""The code of the error of a call whose reply cannot be decoded."""


def unreadable(message: bytes, error: BadReply) -> Reply | None:
    """Return the error for the call of a reply that cannot be decoded, None if the message does not name its call.

    If a service cannot read the uuid in a request, it sends the error in the form for clients that know only AMQP.
    """
    try:
        known: Message | None = decode(message)
    except MessageError:
        known = decode_properties(message)
    if known is None or not isinstance(known.correlation_id, str):
        return None
    said = known.properties or {}
    code, text = said.get("error-code"), said.get("error-message")
    if isinstance(code, int | str) and isinstance(text, str):
        return Reply(known.correlation_id, error=Fault(code, text))
    return Reply(known.correlation_id, error=Fault(UNREADABLE, str(error)))
