"""The server's door: what it needs of a message that comes in, and what it passes on of it.

To MQ Light's addresses a message goes on byte for byte, but without header (each delivery is given its own by
:func:`mqlight.amqp.sections.header`) and delivery annotations, always with ``to`` and always with an amqp-value body,
because MQ Light clients fail without: Node.js throws where header or ``to`` is missing, Java where the body is a data
section or missing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from mqlight.amqp import codec
from mqlight.amqp.codec import CodecError
from mqlight.amqp.reading import Reader
from mqlight.amqp.sections import (
    ANNOTATIONS,
    APPLICATION_PROPERTIES,
    DATA,
    DELIVERY_ANNOTATIONS,
    FIELDS,
    FOOTER,
    HEADER,
    HEADER_FIELDS,
    MOST_HEADER,
    PROPERTIES,
    SEQUENCE,
    VALUE,
    MessageError,
    check_order,
    check_shape,
    descriptor_of,
    list_at,
    read_section,
    topic_of,
)
from mqlight.amqp.usual import address_and_rest
from mqlight.wire.topics import TopicError, validate_topic

_VALUE = b"\x00Sw"
_ADDRESSES = frozenset((0x40, 0xA1, 0xB1))


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """A message at the server's door: what the server acts on, and ``rest``, the sections that go to the receivers."""

    topic: str
    ttl: int | None
    """In ms. The ttl 0 that some clients send for "none" reads as None."""
    durable: bool
    delivery_count: int
    priority: int
    rest: bytes
    """Properties (with ``to``) and amqp-value body, with annotations, application properties and footer if any."""
    bare: bytes | None = None
    """The same as the sender wrote it, where ``rest`` differs: the bare message is immutable (section 3.2)."""


def admit(data: bytes, topic: str | None) -> Admitted:
    """What the server needs of a message that came in, and what it passes on of it.

    ``topic`` is the target address of the link, which has the last word; None on a link without one, and then the topic
    is that of the message's ``to``. A message without ``to`` is given the topic there; one whose body is not an
    amqp-value is given one of the same content (data as binary, sequences as a list, no body as the empty string).
    Values inside the sections are skipped by their size, not decoded. Raises MessageError for sections that are not
    well-formed, for a ``to`` that is no string, and for no topic, or an impossible one, in both places.
    """
    if type(data) is not bytes:
        data = bytes(data)
    try:
        usual = address_and_rest(data)
        if usual is None:
            return _rewrite(data, topic)
        address, ttl, rest = usual
        if topic is None:
            topic = _topic(address)
        else:
            address.decode()
        return Admitted(topic, ttl or None, False, 0, 4, rest)
    except IndexError as error:
        raise MessageError(f"The message is cut off: its {len(data)} bytes end inside a section.") from error
    except UnicodeDecodeError as error:
        raise MessageError("The address `to` of the message is not valid UTF-8.") from error
    except CodecError as error:
        raise MessageError(f"The message is not well-formed. {error}") from error


@lru_cache(4096)
def _topic(address: bytes) -> str:
    return _checked(topic_of(address.decode()))


def _rewrite(data: bytes, topic: str | None) -> Admitted:
    """The long way: takes the message apart into its sections and writes those that receivers cannot do without."""
    fields: dict[str, Any] = {}
    # in the order of the wire
    kept = dict.fromkeys((ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, VALUE, FOOTER), b"")
    original: list[bytes] = []
    elements: list[bytes] = []
    binaries: list[bytes] = []
    items: list[bytes] | None = None
    at, last, end = 0, 0, len(data)
    while at < end:
        start = at
        number, value = descriptor_of(data, at, end)
        check_order(last, number)
        check_shape(data, number, value)
        at, last = codec.skip(data, value, end), number
        if number not in (HEADER, DELIVERY_ANNOTATIONS):
            original.append(data[start:at])
        if number in kept:
            kept[number] = data[start:at]
        if number == HEADER:
            if at - value > MOST_HEADER:
                raise MessageError(
                    f"The header has {at - value} bytes, where its {len(HEADER_FIELDS)} fields need fewer."
                )
            fields = read_section(Reader(data), number, value, at)[0]
        elif number == PROPERTIES:
            elements = _elements(data, value, at, len(FIELDS))
        elif number == DATA:
            binaries.append(codec.read(data, value, at)[0])
        elif number == SEQUENCE:
            items = [] if items is None else items
            items += _elements(data, value, at, end)
    if not end:
        raise MessageError("The message is empty: it has no section at all.")
    if binaries:
        kept[VALUE] = _VALUE + codec.encode_binary(b"".join(binaries))
    elif items is not None:
        kept[VALUE] = _VALUE + codec.compound(0xC0, len(items), b"".join(items))
    elif not kept[VALUE]:
        kept[VALUE] = _VALUE + b"\xa1\x00"
    if len(elements) > 2 and elements[2][0] not in _ADDRESSES:
        raise MessageError(
            f"The address `to` of the message has the code 0x{elements[2][0]:02x}, which is not a string."
        )
    address = codec.decode(elements[2]) if len(elements) > 2 else None
    if address is None:
        elements[2:3] = (b"@",) * (2 - len(elements)) + (codec.encode_string(_checked(topic)),)
        kept[PROPERTIES] = b"\x00Ss" + codec.compound(0xC0, len(elements), b"".join(elements))
    elif topic is None:
        topic = topic_of(address)
    topic = _checked(topic)
    rest, bare = b"".join(kept.values()), b"".join(original)
    return Admitted(
        topic,
        fields.get("ttl") or None,
        fields.get("durable", False),
        0,  # how often another node has tried it is nothing to this one (section 3.2.1)
        fields.get("priority", 4),
        rest,
        None if bare == rest else bare,
    )


def _checked(topic: str | None) -> str:
    if not topic:
        raise MessageError("The message is for no topic: neither the link's target nor the message's `to` names one.")
    try:
        validate_topic(topic)
    except TopicError as error:
        raise MessageError(str(error)) from error
    return topic


def _elements(data: bytes, at: int, end: int, most: int) -> list[bytes]:
    """The encoded elements of the list at ``at``, which ends at ``end``: ``most`` is how many there may be."""
    count, at, stop = list_at(data, at, end)
    if count > most:
        raise MessageError(f"The properties have {count} fields; there are {most}.")
    if stop != end or count > stop - at:
        raise MessageError(f"The list that ends at byte {end} claims {count} elements in {stop - at} bytes.")
    elements = []
    for _ in range(count):
        start, at = at, codec.skip(data, at, stop)
        elements.append(data[start:at])
    if at != stop:
        raise MessageError(f"The list that ends at byte {end} has {stop - at} bytes more than its elements.")
    return elements
