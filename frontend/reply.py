"""The reply to a word in the form that browsers get: a worker's answer, or the reason why there is none. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

import macaque

SERVICE = "mqlight/sample/wordsuppercase"


class WrongAnswer(Exception):
    """A worker's answer does not have the expected form."""


REASONS: dict[type[Exception], str] = {
    macaque.NoResponders: f"No service listens on {SERVICE}. Start a worker with: python -m backend",
    macaque.Timeout: "No answer within {timeout:g} seconds. Is a worker running (python -m backend)?",
    macaque.ConnectionLost: "The connection to the broker was lost before the answer came. Submit the word again.",
    macaque.RemoteError: "The worker failed: {error}",
    WrongAnswer: "The worker answered {error}",
    Exception: "The word could not be sent: {error}",
}
"""For each error, the sentence that tells people why a word has no answer, and how to go on."""


class Reply(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The result of one word: upper case from a worker (`backend`), or an `error`, which is a sentence for people.

    `word` is the worker's answer. With an error it is the word as it was sent (`original`), and `code` is the class of
    the error. `round_trip_ms` is the time from the call to its answer. `work_ms` is the part in the worker's function,
    if the worker reports it. `again` marks a further answer, by another kind of worker, to an answered word.
    """

    id: int = 0
    word: str
    original: str
    round_trip_ms: float
    work_ms: Annotated[float, Meta(ge=0)] | None = None
    backend: str | None = None
    error: str | None = None
    code: str | None = None
    again: bool = False


def answered(original: str, answer: object, milliseconds: float) -> Reply:
    """Return the reply for a worker's answer: `{"word": str, "backend": str, "workMs": number}`, or just the word."""
    said = answer if isinstance(answer, dict) else {}
    known = {key: said[key] for key in ("word", "backend", "workMs") if key in said}
    try:
        reply = msgspec.convert(known | {"original": original, "roundTripMs": round(milliseconds, 2)}, Reply)
    except msgspec.ValidationError as error:
        return failed(original, WrongAnswer(f"{repr(answer)[:200]}, which is no answer: {error}."), milliseconds)
    reply.backend = reply.backend or "a worker without a name"
    return reply


def failed(original: str, error: Exception, milliseconds: float, timeout: float = 0.0) -> Reply:
    """Return the reply for a word whose call ended in an error. The call's timeout was `timeout` seconds."""
    reason = next(REASONS[kind] for kind in REASONS if isinstance(error, kind)).format(error=error, timeout=timeout)
    trip, code = round(milliseconds, 2), type(error).__name__
    return Reply(word=original, original=original, round_trip_ms=trip, error=reason, code=code)
