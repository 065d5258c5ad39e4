"""The answers of HTTP: a result as JSON, and an error as problem details (RFC 9457).

The rules of this file:

* The status of an error follows from its class and its code, by the table in docs/http.md.
* A caller over HTTP gets the text of `abort`, but not the text of an exception in a service, unless the service runs
  with debug. It does not get the words of the broker.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from macaque.errors import ConnectionLost, MacaqueError, NoResponders, RemoteError, StreamBroken, Timeout
from mqlight.json_text import encode_json

__all__ = ["Answer", "Problem", "accepted", "allowed", "problem_of", "result"]

RETRY_AFTER = "1"
"""Seconds after which a caller may try again, for the header of that name."""
Header = tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """An answer without a stream."""

    status: int
    headers: tuple[Header, ...]
    body: bytes

    @property
    def line(self) -> str:
        """The status with its reason phrase."""
        return f"{self.status} {_title(self.status)}"

    def with_headers(self, *headers: Header) -> Answer:
        """Return this answer with more headers."""
        return replace(self, headers=(*self.headers, *headers))


class Problem(MacaqueError):
    """A request that is answered with problem details.

    Attributes:
        status: the status of HTTP.
        detail: a sentence for people.
        code: the code of the error in the service, if it is not the status.
        retryable: whether the same request may succeed later.
        details: the JSON value that the service added.
        headers: headers of the answer beside the usual ones.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: int | str | None = None,
        retryable: bool = False,
        details: Any = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(f"{detail} (status {status})")
        self.status = status
        self.detail = detail
        self.code = code
        self.retryable = retryable
        self.details = details
        self.headers = headers

    @property
    def body(self) -> bytes:
        """The problem as JSON, on one line."""
        members: dict[str, Any] = {"type": "about:blank", "title": _title(self.status), "status": self.status}
        members["detail"] = self.detail
        if self.code is not None:
            members["code"] = self.code
        if self.retryable:
            members["retryable"] = True
        if self.details is not None:
            members["details"] = self.details
        return encode_json(members)

    @property
    def answer(self) -> Answer:
        again = (("Retry-After", RETRY_AFTER),) if self.status == HTTPStatus.SERVICE_UNAVAILABLE else ()
        return _answer(self.status, "application/problem+json", self.body, *again, *self.headers)


def result(data: Any) -> Answer:
    """Return the answer with the result of a service."""
    return _answer(200, "application/json", encode_json(data))


def accepted(uuid: str) -> Answer:
    """Return the answer to a one-way message that was sent, with its id (RFC 7240, section 4.1)."""
    return _answer(202, "application/json", encode_json({"uuid": uuid}), ("Preference-Applied", "respond-async"))


def allowed(methods: str) -> Answer:
    """Return the answer to OPTIONS."""
    return Answer(204, (("Allow", methods),), b"")


def problem_of(error: MacaqueError, *, begun: bool = True) -> Problem:
    """Return the problem for the error of a call.

    Args:
        begun: whether the request was accepted. Otherwise the service had no place for it until its deadline.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, RemoteError):
        return _of_service(error)
    if isinstance(error, NoResponders):
        return Problem(503, f"No process serves {error.topic} at the moment.", retryable=True)
    if isinstance(error, Timeout):
        within = "in time" if not error.timeout else f"within {error.timeout:g} s"
        if begun:
            return Problem(504, f"{error.topic} did not answer {within}.", retryable=True)
        return Problem(503, f"{error.topic} had no room for the request {within}.", retryable=True)
    if isinstance(error, StreamBroken):
        said = f"The stream from {error.topic} is broken after {error.received} parts."
        return Problem(503, said, code="interrupted", retryable=True)
    if isinstance(error, ConnectionLost):
        return Problem(503, "The service cannot be reached at the moment.", retryable=True)
    return Problem(503, "The request was not finished.", retryable=True)


def _of_service(error: RemoteError) -> Problem:
    code = error.code
    status = code if isinstance(code, int) and 400 <= code <= 599 else 500
    return Problem(
        status, _detail(error, status), code=None if code == status else code, retryable=error.retryable,
        details=error.details,
    )  # fmt: skip


def _detail(error: RemoteError, status: int) -> str:
    if error.type is None or error.traceback is not None:
        return error.message or "The service gave no reason."
    if error.type.startswith("amqp:"):
        return _REFUSALS.get(status, "The request was not accepted.")
    return "The service failed." if status == 500 else error.message


_REFUSALS = {
    403: "The request is not allowed.",
    413: "The request is too large.",
    503: "The service has too many requests that wait.",
}
"""Sentences for requests that the broker refuses, by their status."""


def _answer(status: int, kind: str, body: bytes, *headers: Header) -> Answer:
    return Answer(status, (("Content-Type", kind), ("Content-Length", str(len(body))), *headers), body)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
