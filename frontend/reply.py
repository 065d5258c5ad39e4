"""The reply to a word, as browsers get it: made of a worker's answer, or of the reason why there is none. Pure."""

from __future__ import annotations

from msgspec import Struct

import macaque

SERVICE = "mqlight/sample/wordsuppercase"
REASONS: dict[type[Exception], str] = {
    macaque.NoResponders: f"Nobody listens on {SERVICE}. Start a worker with: python -m backend",
    macaque.Timeout: "No answer within {timeout:g} seconds. Is a worker running (python -m backend)?",
    macaque.ConnectionLost: "The connection to the messaging server was lost before the answer came. "
    "Submit the word again.",
    macaque.RemoteError: "The worker failed: {error}",
    Exception: "The word could not be sent: {error}",
}
"""The sentences that tell people why a word has no answer, and what to do."""


class Reply(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The end of one word: upper case by a worker (`backend`), or an `error`, which is a sentence for people.

    `word` is the worker's answer, or the word as it was sent (`original`) when there is an error. `round_trip_ms` runs
    from the call to its answer; `work_ms` is the part of it that the worker's function took, if the worker says so.
    `again` marks the answer of another kind of worker to a word that was answered before.
    """

    id: int = 0
    word: str
    original: str
    round_trip_ms: float
    work_ms: float | None = None
    backend: str | None = None
    error: str | None = None
    again: bool = False


def answered(original: str, answer: object, milliseconds: float) -> Reply:
    """Return the reply for a worker's answer, which should be `{"word": str, "backend": str, "workMs": number}`."""
    if not isinstance(answer, dict) or not isinstance(word := answer.get("word"), str):
        wrong = f'The worker answered {repr(answer)[:200]}, where an object with a "word" was expected.'
        return failed(original, wrong, milliseconds)
    backend, work, trip = answer.get("backend"), answer.get("workMs"), round(milliseconds, 2)
    name = backend if isinstance(backend, str) and backend else "a worker without a name"
    is_time = isinstance(work, (int, float)) and not isinstance(work, bool) and 0 <= work < float("inf")
    work_ms = min(round(float(work or 0), 2), trip) if is_time else None
    return Reply(word=word, original=original, round_trip_ms=trip, work_ms=work_ms, backend=name)


def failed(original: str, error: str, milliseconds: float) -> Reply:
    """Return the reply for a word that came back with an error; `error` is a sentence for people."""
    return Reply(word=original, original=original, round_trip_ms=round(milliseconds, 2), error=error)


def explain(error: Exception, timeout: float) -> str:
    """Return the sentence that tells people why a word has no answer, and what to do."""
    reason = next(REASONS[kind] for kind in REASONS if isinstance(error, kind))
    return reason.format(error=error, timeout=timeout)
