"""Apply a disposition of the peer to the deliveries of a session (sections 2.6.12 and 2.7.6)."""

from __future__ import annotations

from typing import Final

from mqlight.amqp.frames import ACCEPTED, MODIFIED, RECEIVED, REJECTED, RELEASED, U32, Fields, SessionError
from mqlight.amqp.link import STATES
from mqlight.amqp.session import Session
from mqlight.amqp.types import Condition, Outcome

_MOST_SPAN: Final = 1 << 31
"""The most deliveries that one range names: more would be behind its first one (RFC 1982)."""


def take(session: Session, fields: Fields) -> None:
    """Take a disposition of the peer.

    It names a range of deliveries. This end sent them if the peer is the receiver; otherwise this end received them.
    A delivery that is settled without an outcome counts as accepted.
    """
    receiver = fields.role(0)
    first, last = fields.needed(1, U32, "first"), fields.number(2, U32)
    settled, state = fields.flag(3), fields.described(4)
    span = (last - first) & U32 if last >= 0 else 0
    if span > _MOST_SPAN:
        raise SessionError("amqp:invalid-field", f"a disposition ends at {last}, before its first delivery {first}")
    if not receiver:
        if settled:
            _settled_by_sender(session, first, span)
        return
    outcome, condition = outcome_of(state)
    if outcome is None:
        if not settled:
            if state is not None and state.code == RECEIVED:
                session.mark(_numbers(session, first, span))
            return
        outcome = Outcome.ACCEPTED
    numbers = _numbers(session, first, span)
    if not settled:  # the receiver settles second (section 2.6.12)
        out = session.connection.out
        if out.last >= 0:
            out.flush()
        out.write_disposition(session.channel, False, first, (first + span) & U32, True, STATES[outcome])
    session.tell(numbers, outcome, condition)


def outcome_of(state: Fields | None) -> tuple[Outcome | None, Condition | None]:
    """Return the outcome of a delivery state and its error (section 3.4), None for a state without an outcome."""
    code = -1 if state is None else state.code
    if state is None or not ACCEPTED <= code <= MODIFIED:
        return None, None
    if code == REJECTED:
        return Outcome.REJECTED, state.condition(0) or Condition("", "")
    if code == RELEASED:
        return Outcome.RELEASED, None
    if code == MODIFIED:
        failed, undeliverable = state.flag(0), state.flag(1)
        return Outcome.UNDELIVERABLE if undeliverable else Outcome.MODIFIED if failed else Outcome.RELEASED, None
    return Outcome.ACCEPTED, None


def _numbers(session: Session, first: int, span: int) -> list[int]:
    """Return the unsettled deliveries in a range. A huge range costs no more than the unsettled deliveries."""
    if span < len(session.unsettled):
        return [(first + more) & U32 for more in range(span + 1)]
    return [number for number in session.unsettled if (number - first) & U32 <= span]


def _settled_by_sender(session: Session, first: int, span: int) -> None:
    """Forget received deliveries that the sender has settled: this end need not settle them any more."""
    for link in list(session.remote.values()):
        for handle in [handle for handle in link.held if (handle - first) & U32 <= span]:
            link.held.remove(handle)
            if link.tags:
                link.tags.pop(handle, None)
