"""AMQP conversations for a peer to choke on: frames that are whole and nearly make sense, and ways to damage them.

All chance comes from the ``Random`` that is passed in: the fuzzer's seed or hypothesis's choices.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from mqlight.amqp.codec import Array, CodecError, Described, Symbol, Ubyte, Uint, Ulong, Ushort, encode, read
from mqlight.amqp.message import Message
from mqlight.amqp.message import encode as encode_message

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)

NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**63)
TEXTS = ("", "t", "private:t", "share:s:t", "share::#", "share:", "a/+/#", "#", "ü", "x" * 300, "a/" * 40)
NAMES = ("a", "b", "c", "", "é", "n" * 255)
SYMBOLS = ("mqlight:release-unrouted", "shared", "topic", "link-detach", "never", "session-end", "connection-close")
CONDITIONS = ("amqp:not-allowed", "amqp:link:stolen", "x", "", "amqp:link:detach-forced", "c" * 200)
BODIES = tuple(
    encode_message(message)
    for message in (
        Message(body="m"),
        Message(body="m", to="t", ttl=1),
        Message(body=b"\x00" * 600, to="a/b/c"),
        Message(body=[1, {"a": None}], to="t", durable=True, delivery_count=3, properties={"k": 1}),
    )
)


def frame(body: bytes, channel: int = 0, kind: int = 0) -> bytes:
    """A frame (section 2.3)."""
    return (8 + len(body)).to_bytes(4, "big") + bytes((2, kind)) + channel.to_bytes(2, "big") + body


def performative(code: int, fields: list[Any], payload: bytes = b"", channel: int = 0) -> bytes:
    return frame(encode(Described(Ulong(code), fields)) + payload, channel)


def sasl(mechanism: str = "ANONYMOUS", response: bytes | None = None) -> bytes:
    """A client's half of SASL."""
    return SASL_HEADER + frame(encode(Described(Ulong(0x41), [Symbol(mechanism), response])), kind=1)


def welcome() -> bytes:
    """A server's half of SASL."""
    mechanisms = Described(Ulong(0x40), [Array("symbol", (Symbol("ANONYMOUS"), Symbol("PLAIN")))])
    return SASL_HEADER + frame(encode(mechanisms), kind=1) + frame(encode(Described(Ulong(0x44), [Ubyte(0)])), kind=1)


# Values


def value(random: Random, depth: int = 0) -> Any:
    """Any AMQP value."""
    simple: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: random.random() < 0.5,
        lambda: Uint(number(random)),
        lambda: Ubyte(number(random, 8)),
        lambda: Ushort(number(random, 16)),
        lambda: Ulong(number(random, 64)),
        lambda: number(random) - 2**31,
        lambda: random.choice(TEXTS),
        lambda: Symbol(random.choice(SYMBOLS)),
        lambda: bytes(random.randrange(40)),
        lambda: 1.5,
    )
    if depth > 3 or random.random() < 0.6:
        return random.choice(simple)()
    kind = random.randrange(5)
    if kind == 0:
        return [value(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 1:
        return {Symbol(random.choice(SYMBOLS)): value(random, depth + 1) for _ in range(random.randrange(3))}
    if kind == 2:
        return Described(random.choice((Ulong(number(random, 64)), Symbol("x"))), value(random, depth + 1))
    if kind == 3:
        return Array("symbol", tuple(map(Symbol, random.sample(SYMBOLS, random.randrange(4)))))
    return Array("null", (None,) * random.choice((0, 1, 200)))


def number(random: Random, bits: int = 32) -> int:
    return (random.choice(NUMBERS) if random.random() < 0.8 else random.getrandbits(64)) % 2**bits


def few(random: Random) -> int:
    """A number as honest peers use: a handle, an id, some credit."""
    return random.choice((0, 0, 0, 1, 1, 2, 3, 5, 10)) if random.random() < 0.93 else number(random)


def maybe(random: Random, made: Callable[[], Any], chance: float = 0.5) -> Any:
    return made() if random.random() < chance else None


def fault(random: Random) -> Any:
    """An error (section 2.8.14), or none."""
    info = maybe(random, lambda: value(random), 0.2)
    return maybe(
        random, lambda: Described(Ulong(0x1D), [Symbol(random.choice(CONDITIONS)), random.choice(TEXTS), info])
    )


def state(random: Random) -> Any:
    """A delivery state (section 3.4), or none."""
    code = random.choice((None, 0x23, 0x24, 0x24, 0x25, 0x26, 0x27, 0x27, 0x33, 0x34))
    if code is None:
        return None
    fields: dict[int, list[Any]] = {
        0x23: [Uint(few(random)), Ulong(number(random, 64))],
        0x25: [fault(random)],
        0x27: [random.random() < 0.5, random.random() < 0.5, maybe(random, lambda: value(random), 0.3)],
        0x33: [bytes(random.randrange(5))],
        0x34: [b"\x00", Described(Ulong(0x24), [])],
    }
    return Described(Ulong(code), fields.get(code, []))


def terminus(random: Random, code: int) -> Any:
    """A source (0x28), target (0x29) or coordinator (sections 3.5.3, 3.5.4, 4.5.1)."""
    if random.random() < 0.05:
        return maybe(random, lambda: Described(Ulong(0x30), [value(random)]))
    fields = [
        random.choice(TEXTS) if random.random() < 0.9 else None,
        Uint(few(random)),
        maybe(random, lambda: Symbol(random.choice(SYMBOLS))),
        Uint(few(random)),
        random.random() < 0.1,
        maybe(random, lambda: {Symbol("lifetime-policy"): value(random)}, 0.1),
    ]
    if code == 0x28:
        fields += [
            None,
            maybe(random, lambda: {Symbol("filter"): Described(Symbol("x"), value(random))}, 0.2),
            state(random),
            maybe(random, lambda: Array("symbol", (Symbol("amqp:accepted:list"),)), 0.2),
        ]
    fields.append(maybe(random, lambda: value(random), 0.3))
    return Described(Ulong(code), fields)


# Frames


def opening(random: Random) -> list[Any]:
    return [
        random.choice(NAMES),
        maybe(random, lambda: random.choice(TEXTS)),
        maybe(random, lambda: Uint(random.choice((0, 1, 512, 4096, 65536, 65536, 65536, 2**32 - 1)))),
        maybe(random, lambda: Ushort(number(random, 16))),
        maybe(random, lambda: Uint(random.choice((0, 1, 1000, 30000, 2**32 - 1)))),
        None,
        None,
        maybe(random, lambda: value(random), 0.3),
        maybe(random, lambda: value(random), 0.3),
        maybe(random, lambda: {Symbol("product"): value(random)}, 0.3),
    ]


def beginning(random: Random) -> list[Any]:
    window = [Uint(random.choice((0, 1, 2048, 2**31 - 1, 2**32 - 1))) for _ in range(2)]
    return [maybe(random, lambda: Ushort(few(random) % 2**16)), Uint(few(random)), *window, Uint(number(random))]


def attaching(random: Random) -> list[Any]:
    modes = [maybe(random, lambda: Ubyte(random.randrange(3 if random.random() < 0.9 else 256))) for _ in range(2)]
    return [
        random.choice(NAMES),
        Uint(few(random)),
        random.random() < 0.5,
        *modes,
        terminus(random, 0x28),
        terminus(random, 0x29),
        maybe(random, lambda: {b"\x00": state(random)}, 0.1),
        maybe(random, lambda: True, 0.1),
        Uint(few(random)),
        maybe(random, lambda: Ulong(number(random, 64)), 0.2),
        maybe(random, lambda: value(random), 0.1),
        maybe(random, lambda: value(random), 0.1),
        maybe(random, lambda: value(random), 0.1),
    ]


def flowing(random: Random) -> list[Any]:
    of_session = [Uint(few(random)), Uint(random.choice((0, 1, 2048, 2**31 - 1))), Uint(few(random)), Uint(2048)]
    if random.random() < 0.2:
        return of_session
    of_link = [Uint(few(random)), Uint(few(random)), Uint(random.choice((0, 1, 5, 100, 2**31, 2**32 - 1)))]
    return [*of_session, *of_link, Uint(few(random)), random.random() < 0.2, random.random() < 0.2]


def transferring(random: Random) -> list[Any]:
    return [
        Uint(few(random)),
        maybe(random, lambda: Uint(few(random)), 0.9),
        maybe(random, lambda: bytes(random.randrange(1, 5)), 0.9),
        Uint(0),
        maybe(random, lambda: random.random() < 0.5),
        random.random() < 0.2,
        maybe(random, lambda: Ubyte(random.randrange(2)), 0.2),
        maybe(random, lambda: state(random), 0.2),
        maybe(random, lambda: True, 0.1),
        maybe(random, lambda: True, 0.1),
    ]


def disposing(random: Random) -> list[Any]:
    last = maybe(random, lambda: Uint(few(random)))
    return [random.random() < 0.5, Uint(few(random)), last, random.random() < 0.7, state(random)]


FIELDS: dict[int, Callable[[Random], list[Any]]] = {
    OPEN: opening,
    BEGIN: beginning,
    ATTACH: attaching,
    FLOW: flowing,
    TRANSFER: transferring,
    DISPOSITION: disposing,
    DETACH: lambda random: [Uint(few(random)), random.random() < 0.5, fault(random)],
    END: lambda random: [fault(random)],
    CLOSE: lambda random: [fault(random)],
}
USUAL = (ATTACH,) * 4 + (FLOW,) * 4 + (TRANSFER,) * 6 + (DISPOSITION,) * 4 + (DETACH,) * 2 + (BEGIN, END)


def some_frame(random: Random, code: int) -> bytes:
    """A frame of one kind whose fields are of their types and nearly make sense."""
    payload = b""
    if code == TRANSFER:
        payload = random.choice(BODIES) if random.random() < 0.8 else bytes(random.choice((0, 1, 5000)))
    channel = 0 if random.random() < 0.95 else random.choice((1, 2, 255, 32767, 65535))
    return performative(code, FIELDS[code](random), payload, channel)


def conversation(random: Random, frames: int = 12) -> bytes:
    """One side of a connection that begins as it should, and may end."""
    said = [some_frame(random, OPEN), some_frame(random, BEGIN)]
    said += [some_frame(random, random.choice(USUAL)) for _ in range(random.randrange(frames))]
    if random.random() < 0.2:
        said.append(some_frame(random, CLOSE))
    return AMQP_HEADER + b"".join(said)


# Damage


def pieces(data: bytes) -> list[bytes]:
    """``data`` cut into protocol headers, frames and a rest that is neither."""
    found = []
    at = 0
    while at < len(data):
        size = 8 if data.startswith(b"AMQP", at) else int.from_bytes(data[at : at + 4], "big")
        if not 8 <= size <= len(data) - at:
            size = len(data) - at
        found.append(data[at : at + size])
        at += size
    return found


def changed(part: Any, random: Random) -> Any:
    """A decoded value with one thing in it changed."""
    if isinstance(part, Described) and random.random() < 0.9:
        return Described(part.descriptor, changed(part.value, random))
    if isinstance(part, list) and part and random.random() < 0.9:
        place = random.randrange(len(part))
        if random.random() < 0.1:
            return part[:place]
        return [*part[:place], changed(part[place], random), *part[place + 1 :]]
    if isinstance(part, (Uint, Ulong, Ushort, Ubyte)) and random.random() < 0.7:
        bits = {Uint: 32, Ulong: 64, Ushort: 16, Ubyte: 8}[type(part)]
        return type(part)((part + random.choice((-1, 1)) if random.random() < 0.4 else few(random)) % 2**bits)
    if isinstance(part, bool) and random.random() < 0.8:
        return not part
    return value(random)


def changed_frame(piece: bytes, random: Random) -> bytes:
    """A frame with one field changed, and its sizes right again; as it was when it is none."""
    start = piece[4] * 4 if len(piece) > 8 else 8
    try:
        body, end = read(piece, start, len(piece))
        new = encode(changed(body, random)) + piece[end:]
    except CodecError:
        return piece
    return (8 + len(new)).to_bytes(4, "big") + b"\x02" + piece[5:8] + new


def changed_values(data: bytes, random: Random) -> bytes:
    """A row of AMQP values, as a message is one, with one changed, doubled, moved or taken out."""
    parts = []
    at = 0
    try:
        while at < len(data):
            _, end = read(data, at, len(data))
            parts.append(data[at:end])
            at = end
        place, kind = random.randrange(len(parts) + 1), random.randrange(6)
        if place == len(parts) or kind == 0:
            parts.insert(place, encode(Described(Ulong(random.randrange(0x70, 0x79)), value(random))))
        elif kind == 1:
            del parts[place]
        elif kind == 2:
            parts.insert(random.randrange(len(parts)), parts[place])
        else:
            parts[place] = encode(changed(read(parts[place], 0, len(parts[place]))[0], random))
    except CodecError:
        return damaged(data, random)
    return b"".join(parts)


def damaged(data: bytes, random: Random) -> bytes:
    """``data`` with a few bytes changed, whatever they mean."""
    raw = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        place = random.randrange(len(raw) + 1)
        kind = random.randrange(4)
        if kind == 0 and place < len(raw):
            raw[place] = random.choice((0, 1, 0x40, 0x45, 0x7F, 0x80, 0xC0, 0xD0, 0xE0, 0xFF, random.randrange(256)))
        elif kind == 1:
            raw[place:place] = random.randbytes(random.randrange(1, 9))
        elif kind == 2:
            del raw[place : place + random.randrange(1, 9)]
        else:
            raw[place:place] = raw[place : place + 60]
    return bytes(raw)


def mutate(data: bytes, random: Random) -> bytes:
    """Another conversation, near ``data``: its frames changed, doubled, moved, taken out, joined by new ones."""
    parts = pieces(data)
    for _ in range(random.choice((1, 1, 2, 3, 5))):
        kind = random.randrange(10)
        place = random.randrange(len(parts)) if parts else 0
        if kind < 2 or not parts:
            parts.insert(place + 1, some_frame(random, random.choice(USUAL if random.random() < 0.9 else list(FIELDS))))
        elif kind < 6:
            parts[place] = changed_frame(parts[place], random)
        elif kind == 6:
            parts.insert(random.randrange(len(parts)), parts[place])
        elif kind == 7:
            del parts[place]
        elif kind == 8:
            other = random.randrange(len(parts))
            parts[place], parts[other] = parts[other], parts[place]
        else:
            parts[place] = damaged(parts[place], random)
    return b"".join(parts)
