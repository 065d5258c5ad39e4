"""A peer that writes its frames by hand, and what the engine answered, taken apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amqp.pair import End
from mqlight.amqp.codec import Described, Uint, Ulong, encode, read
from mqlight.amqp.frames import AMQP_HEADER, frame

OPEN = frame(0, bytes.fromhex("005310c00401a10163"))
NAMES = {
    0x10: "open", 0x11: "begin", 0x12: "attach", 0x13: "flow", 0x14: "transfer", 0x15: "disposition", 0x16: "detach",
    0x17: "end", 0x18: "close",
}  # fmt: skip


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
    channel: int = 0,
) -> bytes:
    """An attach of a peer that sends, or receives."""
    count = None if receiver else Uint(0)
    fields = [name, Uint(handle), receiver, snd, rcv, source, target, None, None, count]
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


class RawPeer:
    """A server's engine whose client is these bytes."""

    def __init__(self, *more: bytes, **options: Any) -> None:
        self.end = End(server=True, **options)
        self.give(AMQP_HEADER + OPEN + begin(), *more)

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


def condition_of(fields: list[Any], number: int = 0) -> str:
    """The name of the error in a field."""
    return str(fields[number].value[0])
