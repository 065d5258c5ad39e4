"""What all answers have in common: the headers that keep a browser safe, and errors as `{"error": "a sentence"}`."""

from __future__ import annotations

import bottle
import msgspec

SECURITY_HEADERS = {
    # The page needs nothing but its own files: no inline script or style, no frame around it, no other site.
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
STRICT_TRANSPORT = "max-age=31536000"
"""Strict-Transport-Security, where the request came by https: a year."""


class Problem(Exception):
    """The request cannot be served: an HTTP status, and the sentence that says why and what would be right.

    `code` is for programs, where the status says too little. `retry_after` is in seconds.
    """

    def __init__(self, status: int, error: str, *, code: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def document(self) -> dict[str, str]:
        """Return the body of its response."""
        return {"error": str(self)} | ({} if self.code is None else {"code": self.code})

    def response(self) -> bottle.HTTPResponse:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return respond(self.status, self.document(), **headers)


def respond(status: int, body: object = None, **headers: str) -> bottle.HTTPResponse:
    """Return a response with a JSON body, or without a body for None. `Some_Name` stands for the header `Some-Name`."""
    response = bottle.HTTPResponse(b"" if body is None else msgspec.json.encode(body), status)
    response.set_header("Cache-Control", "no-store")
    if body is not None:
        response.set_header("Content-Type", "application/json")
    for name, value in headers.items():
        response.set_header(name.replace("_", "-"), value)
    return response


def shown(text: str, most: int = 60) -> str:
    """Return what came from outside so that it may stand in a sentence: quoted, plain ASCII, and not for ever."""
    return ascii(text if len(text) <= most else text[:most] + "...")
