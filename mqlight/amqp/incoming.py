"""Collect a message that arrives in several frames (section 2.6.14)."""

from __future__ import annotations

from typing import Any, Final

from mqlight.amqp.frames import GarbledError
from mqlight.amqp.types import Condition

_SMALL: Final = 4096
"""The most bytes of joined payloads. Two neighbours have more than that together."""


class Incoming:
    """One delivery that has begun and not ended."""

    __slots__ = ("_format", "_parts", "_tag", "number", "settled", "size", "unwanted")

    def __init__(self, number: int, tag: bytes, form: int, unwanted: bool) -> None:
        self._format = max(0, form)
        self._parts: list[bytes] = []
        self._tag = tag
        self.number = number
        self.settled = False
        self.size = 0
        self.unwanted = unwanted
        """Whether its payload is ignored: the peer resumes a delivery that this end does not know (section 2.7.5)."""

    def wrong(self, number: int, tag: Any, form: int) -> Condition | None:
        """Return the error that ends the link because of a further transfer, None if the transfer is right.

        Args:
            number: The transfer's delivery-id, -1 for null.
            tag: Its delivery-tag, None for null.
            form: Its message-format, -1 for null.

        Raises:
            GarbledError: the transfer belongs to another delivery.
        """
        if number >= 0 and number != self.number:
            raise GarbledError(f"the delivery {number} came where {self.number} was not over")
        if tag is not None and tag != self._tag:
            return Condition("amqp:invalid-field", "the delivery-tag changed within a delivery")
        if form >= 0 and form != self._format:
            reason = f"the message-format changed from {self._format} to {form} within a delivery"
            return Condition("amqp:invalid-field", reason)
        return None

    def add(self, payload: bytes) -> None:
        """Add the payload of a transfer. Small ones are joined at once, so that many of them take no more memory."""
        parts = self._parts
        if parts and len(parts[-1]) + len(payload) <= _SMALL:
            parts[-1] += payload
        else:
            parts.append(payload)
        self.size += len(payload)

    def forget(self) -> bytes:
        """Return the payload that has arrived, and keep none of it."""
        data = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return data
