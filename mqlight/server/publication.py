"""A message that the server received: the fields that the server needs, and the bytes that it passes on.

For MQ Light's addresses a message is passed on byte for byte, with these exceptions. The header is left out (each
delivery gets a new one from :func:`mqlight.amqp.sections.header`), and so are the delivery annotations. ``to`` and an
amqp-value body are always there, because MQ Light clients fail without them: Node.js throws if header or ``to`` is
missing, Java if the body is missing or a data section.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from mqlight.amqp import codec
from mqlight.amqp.codec import CodecError
from mqlight.amqp.constructors import LIST8, codes_of
from mqlight.amqp.fast_messages import address_and_rest
from mqlight.amqp.sections import (
    ANNOTATIONS,
    APPLICATION_PROPERTIES,
    DATA,
    DELIVERY_ANNOTATIONS,
    FIELDS,
    FOOTER,
    HEADER,
    PROPERTIES,
    SEQUENCE,
    VALUE,
    MessageError,
    elements,
    read_header,
    sections,
    topic_of,
)
from mqlight.amqp.topics import TopicError, validate_topic

_VALUE = b"\x00Sw"
_ADDRESSES = codes_of("null", "string")


class Publication(msgspec.Struct, frozen=True, gc=False):
    """A message that the server received: the fields that the server uses, and ``rest``, the sections for receivers."""

    topic: str
    ttl: int | None
    """The time to live in ms. A ttl of 0, which some clients send for "none", reads as None."""
    durable: bool
    delivery_count: int
    priority: int
    rest: bytes
    """Properties (with ``to``) and amqp-value body, with annotations, application properties and footer if any."""
    bare: bytes | None = None
    """The bare message as the sender wrote it, if it differs from ``rest``: it is immutable (section 3.2)."""


def read_publication(data: bytes, topic: str | None) -> Publication:
    """Return the fields that the server needs of a received message, and the sections that it passes on.

    A message without ``to`` gets the topic there. A body that is no amqp-value becomes an amqp-value of the same
    content: data as binary, sequences as a list, no body as the empty string. Values inside the sections are skipped by
    their size and not decoded.

    Args:
        data: The message.
        topic: The target address of the link, which overrides the message's ``to``. None on a link without an address;
            then ``to`` is the topic.

    Raises:
        MessageError: The sections are not well-formed, ``to`` is no string, or the topic is missing or invalid.
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
        return Publication(topic, ttl or None, False, 0, 4, rest)
    except IndexError as error:
        raise MessageError(f"The message is cut off: its {len(data)} bytes end inside a section.") from error
    except UnicodeDecodeError as error:
        raise MessageError("The address `to` of the message is not valid UTF-8.") from error
    except CodecError as error:
        raise MessageError(f"The message is not well-formed. {error}") from error


@lru_cache(4096)
def _topic(address: bytes) -> str:
    return _checked(topic_of(address.decode()))


def _rewrite(data: bytes, topic: str | None) -> Publication:
    """Rewrite a message that is not in the usual form: split it into sections, and add those that receivers need."""
    # in the order on the wire
    kept = dict.fromkeys((ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, VALUE, FOOTER), b"")
    original: list[bytes] = []
    properties: list[bytes] = []
    binaries: list[bytes] = []
    items: list[bytes] | None = None
    header, _ = read_header(data)
    for number, start, value, end in sections(data):
        if number not in (HEADER, DELIVERY_ANNOTATIONS):
            original.append(data[start:end])
        if number in kept:
            kept[number] = data[start:end]
        if number == PROPERTIES:
            properties = elements(data, value, end, len(FIELDS))
        elif number == DATA:
            binaries.append(codec.read(data, value, end)[0])
        elif number == SEQUENCE:
            items = [] if items is None else items
            items += elements(data, value, end, end)
    if not data:
        raise MessageError("The message is empty: it has no section at all.")
    if binaries:
        kept[VALUE] = _VALUE + codec.encode_binary(b"".join(binaries))
    elif items is not None:
        kept[VALUE] = _VALUE + codec.compound(LIST8, len(items), b"".join(items))
    elif not kept[VALUE]:
        kept[VALUE] = _VALUE + b"\xa1\x00"
    if len(properties) > 2 and properties[2][0] not in _ADDRESSES:
        raise MessageError(
            f"The address `to` of the message has the code 0x{properties[2][0]:02x}, which is not a string."
        )
    address = codec.decode(properties[2]) if len(properties) > 2 else None
    if address is None:
        properties[2:3] = (b"@",) * (2 - len(properties)) + (codec.encode_string(_checked(topic)),)
        kept[PROPERTIES] = b"\x00Ss" + codec.compound(LIST8, len(properties), b"".join(properties))
    elif topic is None:
        topic = topic_of(address)
    topic = _checked(topic)
    rest, bare = b"".join(kept.values()), b"".join(original)
    return Publication(
        topic,
        header.get("ttl") or None,
        header.get("durable", False),
        0,  # the delivery count of another node does not matter here (section 3.2.1)
        header.get("priority", 4),
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
