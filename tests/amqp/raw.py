"""A peer that writes its frames by hand, and what the engine answered, taken apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amqp.pair import End
from mqlight.amqp import Link
from mqlight.amqp.codec import Described, Uint, Ulong, encode, read
from mqlight.amqp.frames import AMQP_HEADER, frame

OPEN = frame(0, bytes.fromhex("005310c00401a10163"))
ACCEPTED = Described(Ulong(0x24), [])
NAMES = {
    0x10: "open", 0x11: "begin", 0x12: "attach", 0x13: "flow", 0x14: "transfer", 0x15: "disposition", 0x16: "detach",
    0x17: "end", 0x18: "close",
}  # fmt: skip
MANDATORY = {
    "open": (0,), "begin": (1, 2, 3), "attach": (0, 1, 2), "flow": (1, 2, 3), "transfer": (0,), "disposition": (0, 1),
    "detach": (0,), "end": (), "close": (),
}  # fmt: skip
"""Fields that each performative must have (section 2.7)."""
ERRORS = {"detach": 2, "end": 0, "close": 0}


def performative(code: int, fields: list[Any], payload: bytes = b"", channel: int = 0) -> bytes:
    return frame(channel, encode(Described(Ulong(code), fields)) + payload)


def begin(channel: int = 0) -> bytes:
    return performative(0x11, [None, Uint(0), Uint(2048), Uint(2048)], channel=channel)


def source(address: str | None = "t") -> Described:
    return Described(Ulong(0x28), [address])


def target(address: str | None = "t") -> Described:
    return Described(Ulong(0x29), [address])


def attach(
    name: str | None = "l",
    handle: int = 0,
    *,
    receiver: bool = False,
    source: Any = source(),  # noqa: B008
    target: Any = target(),  # noqa: B008
    snd: Any = None,
    rcv: Any = None,
    unsettled: Any = None,
    channel: int = 0,
) -> bytes:
    """An attach of a peer that sends, or receives."""
    count = None if receiver else Uint(0)
    fields = [name, Uint(handle), receiver, snd, rcv, source, target, unsettled, None, count]
    return performative(0x12, fields, channel=channel)


def transfer(number: int | None, payload: bytes = b"m", *, handle: int = 0, tag: Any = b"tag", **more: Any) -> bytes:
    """A transfer; ``more`` are further fields by name."""
    fields: list[Any] = [Uint(handle), None if number is None else Uint(number), tag]
    fields += [more.get(name) for name in ("format", "settled", "more", "rcv", "state", "resume", "aborted")]
    return performative(0x14, fields, payload)


def flow(*, handle: int | None = 0, count: int | None = 0, credit: int | None = 10, **more: Any) -> bytes:
    fields: list[Any] = [Uint(0), Uint(2048), Uint(0), Uint(2048)]
    fields += [None if value is None else Uint(value) for value in (handle, count, credit)]
    return performative(0x13, [*fields, None, more.get("drain"), more.get("echo")])


def settled(first: int, last: int | None = None, state: Any = ACCEPTED, over: bool = True) -> bytes:
    """A disposition of a peer that receives."""
    return performative(0x15, [True, Uint(first), None if last is None else Uint(last), over, state])


class RawPeer:
    """A server's engine whose client is these bytes."""

    def __init__(self, *more: bytes, open: bytes = OPEN, **options: Any) -> None:
        self.end = End(server=True, **options)
        self.give(AMQP_HEADER + open + begin(), *more)

    def give(self, *data: bytes) -> list[tuple[str, list[Any]]]:
        """Give the engine bytes; return its frames, as their names and fields."""
        self.end.engine.receive(b"".join(data))
        return self.taken()

    def taken(self) -> list[tuple[str, list[Any]]]:
        answered = b""
        while part := self.end.engine.output():
            self.end.engine.sent(len(part))
            answered += part
        return list(frames_of(answered))


def receiving_peer() -> tuple[RawPeer, Link]:
    """Return a peer that receives, and our sending link with credit for a hundred messages."""
    peer = RawPeer(attach(receiver=True), flow(credit=100))
    return peer, peer.end.all("attach")[0][0]


def frames_of(data: bytes) -> Iterator[tuple[str, list[Any]]]:
    """Cut bytes into frames: the names and the fields of their performatives."""
    if data.startswith(AMQP_HEADER):
        data = data[8:]
    while data:
        size = int.from_bytes(data[:4], "big")
        if size > 8:
            value, _ = read(data, 8, size)
            yield NAMES[int(value.descriptor)], list(value.value)
        data = data[size:]


def lacks(name: str, fields: list[Any]) -> list[int]:
    """Return the mandatory fields that a frame of ours lacks (sections 2.7 and 2.8.14)."""

    def given(number: int) -> Any:
        return fields[number] if number < len(fields) else None

    missing = [number for number in MANDATORY[name] if given(number) is None]
    if name == "attach" and given(2) is False and given(9) is None:
        missing.append(9)
    error = given(ERRORS[name]) if name in ERRORS else None
    if error is not None and not error.value[0]:
        missing.append(ERRORS[name])
    return missing


def condition_of(fields: list[Any], number: int = 0) -> str:
    """The name of the error in a field."""
    return str(fields[number].value[0])
