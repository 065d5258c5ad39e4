"""Read AMQP 1.0 performatives field by field from untrusted bytes, and make frames of fields (section 2.3).

The frames that are rare in a connection's life are read and made here. fast_frames.py, link.py and output.py have a
shorter way for transfers and dispositions in their usual form.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from mqlight.amqp.codec import encode
from mqlight.amqp.decoder import read, short
from mqlight.amqp.types import Condition
from mqlight.amqp.values import Array, CodecError, Described, Symbol, Ulong

if TYPE_CHECKING:
    from mypy_extensions import i64

OPEN: Final = 0x10
BEGIN: Final = 0x11
ATTACH: Final = 0x12
FLOW: Final = 0x13
TRANSFER: Final = 0x14
DISPOSITION: Final = 0x15
DETACH: Final = 0x16
END: Final = 0x17
CLOSE: Final = 0x18
ERROR: Final = 0x1D
RECEIVED: Final = 0x23
ACCEPTED: Final = 0x24
REJECTED: Final = 0x25
RELEASED: Final = 0x26
MODIFIED: Final = 0x27
SASL_MECHANISMS: Final = 0x40
SASL_INIT: Final = 0x41
SASL_CHALLENGE: Final = 0x42
SASL_RESPONSE: Final = 0x43
SASL_OUTCOME: Final = 0x44
AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
EMPTY: Final = b"\x00\x00\x00\x08\x02\x00\x00\x00"
"""A heartbeat (section 2.4.5)."""
ACCEPTED_STATE: Final = b"\x00\x53\x24\x45"
"""The state ``accepted`` of a disposition (section 3.4.2)."""
MIN_FRAME: Final = 512
"""The smallest max-frame-size that an end may have, in bytes (section 2.7.1)."""
MAX_TAG: Final = 32
"""The most bytes of a delivery-tag (section 2.8.7)."""
MOST_NAMES: Final = 256
"""The most names that one field may hold: capabilities, outcomes, filters or properties. This end keeps them."""
U8: Final = 0xFF
U16: Final = 0xFFFF
U32: Final = 0xFFFFFFFF
U64: Final = 0xFFFFFFFFFFFFFFFF
_AROUND_ERROR: Final = 160
"""The most bytes of a frame around the name and the description of its error."""

_NAMES: Final[dict[str, int]] = {
    "amqp:open:list": OPEN, "amqp:begin:list": BEGIN, "amqp:attach:list": ATTACH, "amqp:flow:list": FLOW,
    "amqp:transfer:list": TRANSFER, "amqp:disposition:list": DISPOSITION, "amqp:detach:list": DETACH,
    "amqp:end:list": END, "amqp:close:list": CLOSE, "amqp:error:list": ERROR, "amqp:source:list": 0x28,
    "amqp:target:list": 0x29, "amqp:coordinator:list": 0x30, "amqp:received:list": RECEIVED,
    "amqp:accepted:list": ACCEPTED, "amqp:rejected:list": REJECTED, "amqp:released:list": RELEASED,
    "amqp:modified:list": MODIFIED, "amqp:sasl-mechanisms:list": SASL_MECHANISMS, "amqp:sasl-init:list": SASL_INIT,
    "amqp:sasl-challenge:list": SASL_CHALLENGE, "amqp:sasl-response:list": SASL_RESPONSE,
    "amqp:sasl-outcome:list": SASL_OUTCOME,
}  # fmt: skip


class PeerError(Exception):
    """The peer broke a rule of AMQP, and the connection ends. ``condition`` is the error that the peer gets."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(description)
        self.condition = Condition(name, description)


class GarbledError(PeerError):
    """The peer sent a whole frame with invalid values."""

    def __init__(self, description: str) -> None:
        super().__init__("amqp:decode-error", description)


class FrameError(PeerError):
    """The peer sent bytes that are not a frame."""

    def __init__(self, description: str) -> None:
        super().__init__("amqp:connection:framing-error", description)


class SessionError(PeerError):
    """The peer broke a rule of a session, and the session ends (section 2.8.17)."""


def u32(data: bytes, at: i64) -> i64:
    """Return the 32-bit number at offset ``at``."""
    return (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3]


PLAIN: Final = type(u32).__name__ == "function"
"""Whether this module runs as plain Python. There, one call of struct is quicker than many operations on bytes."""
_transfer: Final = Struct(">I16sIHIH")
pack_transfer: Final[Callable[[int, bytes, int, int, int, int], bytes]] = _transfer.pack
unpack_transfer: Final[Callable[[bytes, int], tuple[int, bytes, int, int, int, int]]] = _transfer.unpack_from
TRANSFER_SIZE: Final = _transfer.size
"""Bytes before the message in the usual frame of a transfer.

They are the frame's size, the result of :func:`transfer_head`, the delivery's number, ``TAG`` (the start of a tag of
four bytes), the tag (the number again), and ``UNSETTLED`` or ``SETTLED``.
"""
TAG: Final = 0xA004
UNSETTLED: Final = 0x4342
SETTLED: Final = 0x4341


def transfer_head(channel: int, handle: int) -> bytes:
    """Return the part of a transfer's usual frame that all transfers of a link share."""
    start = b"\x02\x00" + channel.to_bytes(2, "big") + b"\x00\x53\x14\xc0\x13\x05\x70"
    return start + handle.to_bytes(4, "big") + b"\x70"


def behind(ours: int, theirs: int) -> int:
    """Return how far ``theirs``, a serial number of 32 bits (RFC 1982), is behind ``ours``, which never wraps."""
    distance = (ours - theirs) & U32
    return distance - (1 << 32) if distance >= 1 << 31 else distance


class Fields:
    """A described list: its code, and its fields by number. A method checks a field when it reads it."""

    __slots__ = ("code", "values")

    def __init__(self, code: int, values: list[Any]) -> None:
        self.code = code
        self.values = values

    def any(self, number: int) -> Any:
        """Return the field, None if it is null or left out."""
        values = self.values
        return values[number] if number < len(values) else None

    def text(self, number: int) -> str | None:
        """Return a string or symbol, None if the field is null."""
        value = self.any(number)
        if value is None or isinstance(value, str):
            return value
        raise GarbledError(f"a frame makes no sense: {short(value)} stands where a text is due")

    def number(self, number: int, most: int) -> int:
        """Return a number of 0 to ``most``, -1 if the field is null."""
        value = self.any(number)
        if value is None:
            return -1
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
            return int(value)
        raise GarbledError(f"a frame makes no sense: {short(value)} stands where a number up to {most} is due")

    def needed(self, number: int, most: int, name: str) -> int:
        """Return a number that must not be null. ``name`` is the field's name."""
        value = self.number(number, most)
        if value < 0:
            raise GarbledError(f"a frame lacks its mandatory field {name}")
        return value

    def flag(self, number: int) -> bool:
        """Return a boolean, False if the field is null."""
        value = self.any(number)
        if value is None:
            return False
        if isinstance(value, bool):
            return value
        raise GarbledError(f"a frame makes no sense: {short(value)} stands where a boolean is due")

    def role(self, number: int) -> bool:
        """Return whether the peer is the receiver. The role is mandatory."""
        if self.any(number) is None:
            raise GarbledError("a frame lacks its mandatory field role")
        return self.flag(number)

    def symbols(self, number: int) -> tuple[str, ...]:
        """Return the symbols of a "multiple" field: one symbol, or an array or list of them (section 1.4)."""
        value = self.any(number)
        if value is None:
            return ()
        items: tuple[Any, ...]
        if isinstance(value, Array):
            items = value.values
        elif isinstance(value, list):
            items = tuple(value)
        else:
            items = (value,)
        few_enough(len(items))
        for item in items:
            if not isinstance(item, str) or not item.isascii():
                raise GarbledError(f"a frame makes no sense: {short(item)} stands where a symbol is due")
        return tuple([str(item) for item in items])

    def map(self, number: int) -> dict[Any, Any] | None:
        """Return a map, None if the field is null."""
        value = self.any(number)
        if value is None or isinstance(value, dict):
            return value
        raise GarbledError(f"a frame makes no sense: {short(value)} stands where a map is due")

    def described(self, number: int) -> Fields | None:
        """Return a described list, None if the field is null."""
        value = self.any(number)
        return None if value is None else fields_of(value)

    def condition(self, number: int) -> Condition | None:
        """Return an error (section 2.8.14), None if the field is null."""
        error = self.described(number)
        if error is None:
            return None
        if error.code != ERROR:
            raise GarbledError(f"a frame makes no sense: {error.code:#x} stands where an error is due")
        name = error.text(0)
        if name is None:
            raise GarbledError("an error lacks its mandatory field condition")
        return Condition(str(name), str(error.text(1) or ""))


def few_enough(count: int) -> None:
    """Raise GarbledError if a field holds more than ``MOST_NAMES`` names."""
    if count > MOST_NAMES:
        raise GarbledError(f"a field holds {count} names, where there may be up to {MOST_NAMES} (MOST_NAMES)")


def fields_of(value: Any) -> Fields:
    """Return the fields of a described list. Raises GarbledError for any other value."""
    if isinstance(value, Described):
        code, values = value.descriptor, value.value
        if isinstance(code, str):
            code = _NAMES.get(code, -1)
        if isinstance(code, int) and isinstance(values, list):
            return Fields(int(code), values)
    raise GarbledError(f"a frame makes no sense: {short(value)} stands where a described list is due")


def read_fields(data: bytes, at: int, end: int) -> tuple[Fields, int]:
    """Return the performative at ``at``, and the offset of its payload."""
    try:
        value, stop = read(data, at, end)
    except CodecError as error:
        raise GarbledError(f"a frame makes no sense: {error}") from error
    return fields_of(value), stop


def frame(channel: int, body: bytes, kind: int = 0) -> bytes:
    """Return a frame. ``kind`` is 0 for AMQP, 1 for SASL."""
    return (8 + len(body)).to_bytes(4, "big") + bytes((2, kind)) + channel.to_bytes(2, "big") + body


def performative(code: int, fields: list[Any]) -> bytes:
    """Return the bytes of a described list, without the nulls at its end."""
    while fields and fields[-1] is None:
        fields.pop()
    return encode(Described(Ulong(code), fields))


def described_error(condition: Condition | None, most: int, info: dict[str, Any] | None = None) -> Any:
    """Return an error for a field. AMQP needs a name, so a nameless error becomes ``amqp:internal-error``.

    The description is cut off where the frame would have more than ``most`` bytes, which the peer could not take.
    """
    if condition is None:
        return None
    name = condition.name or "amqp:internal-error"
    if not name.isascii():
        name = name.encode("ascii", "replace").decode()
    known: Any = {Symbol(key): value for key, value in info.items()} if info else None
    # A lone surrogate cannot be encoded; it is replaced so that the error is still sent.
    room = max(0, most - len(name) - _AROUND_ERROR)
    text = condition.description.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
    return Described(Ulong(ERROR), [Symbol(name), text or None, known])


def symbol_array(names: tuple[str, ...]) -> Any:
    """Return symbols for a "multiple" field, None for none."""
    return Array("symbol", tuple([Symbol(name) for name in names])) if names else None
