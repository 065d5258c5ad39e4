"""Read transfers and dispositions in their usual form without the decoder.

Nearly every frame of a busy connection is one of them. For a frame in any other form, a function here returns False
and has changed nothing. Local numbers are ``i64`` for the compiled build, where a slice must not start behind its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mqlight.amqp.connection import Connection
from mqlight.amqp.frames import (
    ACCEPTED_STATE,
    MAX_TAG,
    SETTLED,
    TAG,
    TRANSFER_SIZE,
    UNSETTLED,
    u32,
    unpack_transfer,
)
from mqlight.amqp.session import Session
from mqlight.amqp.types import Outcome

if TYPE_CHECKING:
    from mypy_extensions import i64

_accepted: Final = Outcome.ACCEPTED


def take_transfers(connection: Connection, data: bytes, at: int, end: int) -> int:
    """Take the transfers at ``at`` that a peer's :meth:`Link.send` has written.

    Return the offset of the first other frame. This is :func:`take_transfer` for plain Python.
    """
    usual, most, out = connection.usual, connection.usual_size, connection.out
    last = end - TRANSFER_SIZE
    known = b""
    while at <= last and not connection.closed:
        size, head, number, tag_code, tag, state = unpack_transfer(data, at)
        if head != known:
            found = usual.get(head)
            if found is None:
                break
            known, link, session, held = head, found, found.session, found.held
        stop = at + size
        if (
            tag != number
            or session.expected != number
            or tag_code != TAG
            or (state != UNSETTLED and state != SETTLED)
            or stop > end
            or size > most
            or size < TRANSFER_SIZE
            or link.count >= link.limit
            or link.closed
            or link.incoming is not None
        ):
            break
        session.expected = (number + 1) & 0xFFFFFFFF
        session.next_in += 1
        link.count += 1
        message = data[at + TRANSFER_SIZE : stop]
        at = stop
        if state == SETTLED:
            link.handler.on_message(link, number, message, True)
            continue
        held.add(number)
        if link.handler.on_message(link, number, message, False) is True and number in held and not link.closed:
            held.remove(number)
            if number == out.last + 1 and out.state is ACCEPTED_STATE and out.channel == session.channel:
                out.last = number
            else:
                out.add_disposition(session.channel, number, ACCEPTED_STATE, True)
    return at


def take_transfer(session: Session, data: bytes, at: i64, stop: i64) -> bool:
    """Take a transfer of a whole message. ``at`` is the offset of its list, ``stop`` the end of the frame."""
    number: i64 = 0
    handle: i64 = 0
    tag_at: i64 = 0
    if stop - at < 8 or data[at] != 0xC0:
        return False
    fields_end: i64 = at + 2 + data[at + 1]
    count: i64 = data[at + 2]
    if fields_end > stop or count < 3:
        return False
    settled = False
    at += 3
    try:
        code: i64 = data[at]
        if code == 0x52:
            handle = data[at + 1]
            at += 2
        elif code == 0x70:
            handle = u32(data, at + 1)
            at += 5
        elif code == 0x43:
            at += 1
        else:
            return False
        code = data[at]
        if code == 0x70:
            number = u32(data, at + 1)
            at += 5
        elif code == 0x52:
            number = data[at + 1]
            at += 2
        elif code == 0x43:
            at += 1
        else:
            return False
        if data[at] != 0xA0:
            return False
        tag_at = at + 1
        at += 2 + data[at + 1]
        if count > 3:
            code = data[at]
            if code == 0x43 or code == 0x40:
                at += 1
            elif code == 0x52:
                at += 2
            elif code == 0x70:
                at += 5
            else:
                return False
        if count > 4:
            code = data[at]
            at += 1
            if code == 0x41:
                settled = True
            elif code != 0x42 and code != 0x40:
                return False
    except IndexError:
        return False
    if fields_end - at != max(0, count - 5) or (at < fields_end and data[at:fields_end].strip(b"\x40\x42")):
        return False
    link = session.remote.get(handle)
    if (
        link is None
        or not link.receiver
        or link.closed
        or link.incoming is not None
        or link.count >= link.limit
        or (number != session.expected and session.expected >= 0)
        or data[tag_at] > MAX_TAG
        or (link.max_message_size and stop - fields_end > link.max_message_size)
    ):
        return False
    session.expected = (number + 1) & 0xFFFFFFFF
    session.next_in += 1
    link.count += 1
    tags = link.tags
    if tags is not None and (data[tag_at] != 4 or u32(data, tag_at + 1) != number):
        tags[number] = data[tag_at + 1 : tag_at + 1 + data[tag_at]]
    if not settled:
        link.held.add(number)
    if link.handler.on_message(link, number, data[fields_end:stop], settled) is True and not settled:
        link.settle(number, _accepted)
    if settled and tags:
        tags.pop(number, None)
    return True


def take_disposition(session: Session, data: bytes, at: i64, stop: i64) -> bool:
    """Take a disposition of a receiver that accepts and settles. The arguments are those of :func:`take_transfer`."""
    first: i64 = 0
    last: i64 = 0
    code: i64 = 0
    count: i64 = 0
    try:
        count = data[at + 2]
        if data[at] != 0xC0 or at + 2 + data[at + 1] != stop or count < 5 or data[at + 3] != 0x41:
            return False
        at += 4
        code = data[at]
        if code == 0x70:
            first = u32(data, at + 1)
            at += 5
        elif code == 0x52:
            first = data[at + 1]
            at += 2
        elif code == 0x43:
            at += 1
        else:
            return False
        code = data[at]
        if code == 0x70:
            last = u32(data, at + 1)
            at += 5
        elif code == 0x52:
            last = data[at + 1]
            at += 2
        elif code == 0x43:
            at += 1
        elif code == 0x40:
            last = first
            at += 1
        else:
            return False
        if data[at] != 0x41 or at + 5 > stop or data[at + 1 : at + 5] != ACCEPTED_STATE:
            return False
        at += 5
        if stop - at != count - 5 or (at < stop and data[at:stop].strip(b"\x40\x41\x42")):
            return False
    except IndexError:
        return False
    if last < first or last - first > len(session.unsettled):
        return False
    session.tell(range(first, last + 1), _accepted, None)
    return True
