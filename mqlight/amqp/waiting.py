"""Send messages that wait for the link's credit or for room in the session's window (sections 2.5.6, 2.6.7).

A waiting message has no delivery number yet. Its key in ``Link.unsettled`` is below zero, and stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqlight.amqp.frames import U32, frame
from mqlight.amqp.output import uint

if TYPE_CHECKING:
    from mqlight.amqp.link import Link

_TAG: Final = b"\xa0\x04"
_SETTLED: Final = b"\x43\x41"  # after the message format
_UNSETTLED: Final = b"\x43\x42"


class Queued:
    """A waiting message. ``at`` bytes of it are sent."""

    __slots__ = ("at", "key", "message", "number", "settled")

    def __init__(self, message: bytes, key: int, settled: bool) -> None:
        self.message = message
        self.key = key
        self.settled = settled
        self.at = 0
        self.number = -1


def send_later(link: Link, message: bytes, token: Any, settled: bool) -> None:
    """Queue a message, and send the waiting messages that can be sent. Raises ValueError on a receiving link."""
    if link.receiver:
        raise ValueError(f"the link {link.name!r} receives; a message needs a link of attach_sender()")
    key = 0
    if not settled:
        link.key -= 1
        key = link.key
        link.unsettled[key] = token
    if link.closed or link.out.closed:
        return  # the owner finds its token in ``unsettled``
    link.queue.append(Queued(message, key, settled))
    link.session.waiting[link] = None
    send_waiting(link)


def send_waiting(link: Link) -> None:
    """Send waiting messages while there are credit and room. A message of several frames stops without room."""
    session, queue = link.session, link.queue
    if link.detached or session.ended:
        return
    while queue and session.next_out < session.window:
        item = queue[0]
        if item.number < 0:
            if link.count >= link.limit:
                return
            item.number = session.delivery & U32
            session.delivery += 1
            link.count += 1
            if not item.settled:
                session.unsettled[item.number] = link
                link.late[item.number] = item.key
        session.next_out += 1
        number = item.number.to_bytes(4, "big")
        start = item.at
        part = item.message[start : min(start + link.room, len(item.message))]
        item.at += len(part)
        more = item.at < len(item.message)
        state = (_SETTLED if item.settled else _UNSETTLED) + (b"\x41" if more else b"\x42")
        fields = uint(link.handle) + b"\x70" + number + _TAG + number + state
        session.write(frame(session.channel, b"\x00\x53\x14\xc0" + bytes((len(fields) + 1, 6)) + fields + part))
        if not more:
            queue.popleft()
    if not queue:
        session.waiting.pop(link, None)


def unsent(link: Link) -> list[Any]:
    """Return the tokens of the unsettled messages that the socket has not taken completely."""
    out, channel = link.out, link.session.channel
    begun = {item.key for item in link.queue if not item.settled}
    numbers = {key: number for number, key in link.late.items()}
    found: list[Any] = []
    for key, token in link.unsettled.items():
        number = numbers.get(key, key)
        if number < 0 or key in begun or not out.has_left(channel, number):
            found.append(token)
    return found
