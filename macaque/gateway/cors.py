"""Cross-origin requests (the Fetch standard, "CORS protocol"): the pages of other sites that may call. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from macaque.http.answer import Answer, Header

__all__ = ["headers", "preflight"]

TAKEN = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, traceparent, tracestate"
"""Headers that a page may send."""
SHOWN = "Allow, Preference-Applied, Retry-After, traceparent"
"""Headers of an answer that a page may read."""
KEPT = "600"
"""Seconds that a browser keeps the answer to a preflight request."""


def headers(environ: Mapping[str, Any], origins: Sequence[str]) -> list[Header]:
    """Return the headers for the page that sent a request; none unless its origin is one of `origins`.

    Callers are known by their token, which a page sends itself. So no credentials of the browser are allowed.
    """
    if not origins:
        return []
    origin = environ.get("HTTP_ORIGIN")
    if origin is None or not ("*" in origins or origin in origins):
        return [("Vary", "Origin")]
    allowed = "*" if "*" in origins else origin
    return [("Vary", "Origin"), ("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", SHOWN)]


def preflight(environ: Mapping[str, Any], origins: Sequence[str]) -> Answer | None:
    """Return the answer to a browser's question whether a page may call; None if the request is no such question."""
    asked = environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    origin = environ.get("HTTP_ORIGIN")
    if not asked or not ("*" in origins or origin in origins):
        return None
    return Answer(
        204,
        (
            ("Access-Control-Allow-Methods", "GET, HEAD, POST"),
            ("Access-Control-Allow-Headers", TAKEN),
            ("Access-Control-Max-Age", KEPT),
        ),
        b"",
    )
