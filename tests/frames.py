"""AMQP 1.0 frames and messages as text, for the examples of docs/protocol.md (AMQP 1.0 part 2, 3.2, 3.5)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mqlight.amqp import codec
from mqlight.amqp.values import Array, Described, Symbol

# What each described list is called, and its fields in their order, as far as the examples go.
TYPES: dict[int, tuple[str, str]] = {
    0x10: ("open", "container-id hostname max-frame-size channel-max idle-time-out outgoing-locales incoming-locales "
                   "offered-capabilities desired-capabilities properties"),
    0x11: ("begin", "remote-channel next-outgoing-id incoming-window outgoing-window handle-max offered-capabilities "
                    "desired-capabilities properties"),
    0x12: ("attach", "name handle role snd-settle-mode rcv-settle-mode source target unsettled incomplete-unsettled "
                     "initial-delivery-count max-message-size offered-capabilities desired-capabilities properties"),
    0x13: ("flow", "next-incoming-id incoming-window next-outgoing-id outgoing-window handle delivery-count "
                   "link-credit available drain echo properties"),
    0x14: ("transfer", "handle delivery-id delivery-tag message-format settled more rcv-settle-mode state resume "
                       "aborted batchable"),
    0x15: ("disposition", "role first last settled state batchable"),
    0x16: ("detach", "handle closed error"),
    0x17: ("end", "error"),
    0x18: ("close", "error"),
    0x1D: ("error", "condition description info"),
    0x24: ("accepted", ""),
    0x25: ("rejected", "error"),
    0x26: ("released", ""),
    0x27: ("modified", "delivery-failed undeliverable-here message-annotations"),
    0x2B: ("delete-on-close", ""),
    0x28: ("source", "address durable expiry-policy timeout dynamic dynamic-node-properties distribution-mode filter "
                     "default-outcome outcomes capabilities"),
    0x29: ("target", "address durable expiry-policy timeout dynamic dynamic-node-properties capabilities"),
    0x70: ("header", "durable priority ttl first-acquirer delivery-count"),
    0x73: ("properties", "message-id user-id to subject reply-to correlation-id content-type content-encoding "
                         "absolute-expiry-time creation-time group-id group-sequence reply-to-group-id"),
    0x74: ("application-properties", ""),
    0x77: ("amqp-value", ""),
}  # fmt: skip
TRANSFER = 0x14


def frames(data: bytes) -> Iterator[bytes]:
    """Cut a stream of bytes into AMQP frames, leaving out protocol headers and SASL frames."""
    at = 0
    while at < len(data):
        if data[at : at + 4] == b"AMQP":
            at += 8
            continue
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 5] == 0:
            yield data[at : at + size]
        at += size


def describe_frame(frame: bytes) -> str:
    """A frame of type AMQP as text: its performative, and what a transfer carries."""
    assert len(frame) == int.from_bytes(frame[:4], "big") and frame[4:6] == b"\2\0", "no whole AMQP frame"
    performative, at = codec.read(frame, 8, len(frame))
    text = describe(performative)
    return f"{text} {describe_message(frame[at:])}" if performative.descriptor == TRANSFER else text


def describe_message(message: bytes) -> str:
    """The sections of a message as text."""
    at, sections = 0, []
    while at < len(message):
        section, at = codec.read(message, at, len(message))
        sections.append(describe(section))
    return " ".join(sections)


def describe(value: Any) -> str:
    match value:
        case Described():
            name, fields = TYPES[int(value.descriptor)]
            if not isinstance(value.value, list):
                return f"{name}({describe(value.value)})"
            named = zip(fields.split(), value.value, strict=False)
            return f"{name}({', '.join(f'{key}={describe(item)}' for key, item in named if item is not None)})"
        case Array():
            return f"[{', '.join(map(describe, value.values))}]"
        case list():
            return f"[{', '.join(map(describe, value))}]"
        case dict():
            return f"{{{', '.join(f'{describe(key)}: {describe(item)}' for key, item in value.items())}}}"
        case bytes():
            return f"0x{value.hex()}"
        case Symbol():
            return str(value)
        case str() if '"' in value and "'" not in value:
            return f"'{value}'"
        case _:
            return json.dumps(value, ensure_ascii=False)
