"""The request of HTTP, and the call that it stands for.

The rules of this file:

* The path is the topic. POST has the data as JSON. GET is for safe services, and has the data in its query.
* Callers may shorten the time of a call, and not lengthen it.
* Nothing is ignored silently, but for preferences, which servers may ignore (RFC 7240). A request that is not
  understood is a Problem.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from macaque.arguments import checked_number, checked_seconds, checked_uuid
from macaque.envelope import decode_data
from macaque.http.answer import Problem
from macaque.http.query import data_of
from macaque.traces import Trace, checked
from mqlight.amqp.topics import TopicError, validate_topic

__all__ = ["Head", "Known", "Limits", "Wanted", "check_method", "methods", "topic_of", "wanted"]

_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_MOST_FIELDS = 1000
_LARGEST = 1024 * 1024 * 1024
INTERNAL = ("macaque/", "response/")
"""The topics of macaque itself begin with these: of discovery, control messages, dead letters and replies."""


class Known(Protocol):
    """The part of a `ServiceInfo` that decides how the service is called."""

    safe: bool
    streams: bool
    request: dict[str, Any] | None


@dataclass(frozen=True)
class Limits:
    """The limits of requests over HTTP."""

    timeout: float = 30.0
    """Seconds that a call may take: `MACAQUE_HTTP_TIMEOUT`."""
    stream_timeout: float = 3600.0
    """Seconds that a stream may take, if the service is known to stream: `MACAQUE_HTTP_STREAM_TIMEOUT`."""
    body: int = 1024 * 1024
    """The most bytes of a body: `MACAQUE_HTTP_MAX_BODY`."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Limits:
        """Return the limits in the settings of a server. Raises TypeError or ValueError: a setting is invalid."""

        def seconds(name: str, default: float) -> float:
            return checked_seconds(settings.get(name, default), f"setting {name}")

        body = settings.get("HTTP_MAX_BODY", cls.body)
        return cls(
            seconds("HTTP_TIMEOUT", cls.timeout),
            seconds("HTTP_STREAM_TIMEOUT", cls.stream_timeout),
            checked_number(body, "setting HTTP_MAX_BODY", 1, _LARGEST, "how many bytes a body may have"),
        )


@dataclass(frozen=True)
class Head:
    """A request without its body."""

    method: str
    topic: str
    query: str
    """The query, as it was sent."""
    headers: Mapping[str, str]
    """The headers, with names in lower case."""


@dataclass(frozen=True)
class Wanted:
    """The call that a request stands for."""

    topic: str
    data: Any
    timeout: float
    one_way: bool
    uuid: str | None
    trace: Trace | None


def topic_of(path: bytes) -> str:
    """Return the topic of a path that is percent-decoded. Raises Problem: the path cannot be a topic."""
    try:
        topic = path.decode().removeprefix("/")
        validate_topic(topic)
    except UnicodeDecodeError as error:
        raise Problem(400, "The path is not text in UTF-8.") from error
    except TopicError as error:
        raise Problem(404, f"The path is not a topic. {error}") from error
    if topic.startswith(INTERNAL):
        raise Problem(404, f"There is no service at {topic[:200]!r}.")
    return topic


def methods(known: Known | None) -> str:
    """Return the methods that a service has, for the header Allow."""
    return "GET, HEAD, POST, OPTIONS" if known is not None and known.safe else "POST, OPTIONS"


def check_method(head: Head, known: Known | None) -> None:
    """Check the method. Raises Problem: the service does not have it."""
    if head.method not in methods(known).split(", "):
        said = f"{head.topic} has no {head.method}: use POST."
        raise Problem(405, said, headers=(("Allow", methods(known)),))


def wanted(head: Head, body: bytes, known: Known | None, limits: Limits) -> Wanted:
    """Return the call that a request stands for.

    Args:
        known: what is known of the service, or None.

    Raises:
        Problem: the request cannot be understood.
    """
    headers = head.headers
    data = _from_query(head, body, known) if head.method in ("GET", "HEAD") else _from_body(head, body)
    preferences = _preferences(headers.get("prefer", ""))
    timeout = limits.stream_timeout if known is not None and known.streams else limits.timeout
    if (wait := _seconds(preferences.get("wait"))) is not None:
        timeout = min(timeout, wait)
    one_way = "respond-async" in preferences and head.method == "POST"
    trace = checked(headers.get("traceparent"), headers.get("tracestate"))
    return Wanted(head.topic, data, timeout, one_way, _uuid(headers.get("idempotency-key")), trace)


def _from_body(head: Head, body: bytes) -> Any:
    if head.query:
        raise Problem(400, "POST takes its data from the body: leave the query out.")
    if not body:
        return None
    kind = head.headers.get("content-type")
    if kind is None or not _is_json(kind):
        shown = "none" if kind is None else repr(kind[:80])
        raise Problem(415, f"The Content-Type is {shown}: send the data as application/json.")
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "The body has a Content-Encoding: send it as it is.")
    try:
        return decode_data(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"The body is no JSON: {error}.") from error


def _from_query(head: Head, body: bytes, known: Known | None) -> Any:
    if body:
        raise Problem(400, "GET takes its data from the query: leave the body out, or use POST.")
    if not head.query.isascii():  # servers pass these bytes on in different ways, or refuse them
        raise Problem(400, "The query has characters that are not percent-encoded.")
    try:
        fields = parse_qsl(
            head.query, keep_blank_values=True, strict_parsing=bool(head.query), errors="strict",
            max_num_fields=_MOST_FIELDS,
        )  # fmt: skip
    except ValueError as error:
        raise Problem(400, f"The query cannot be decoded: {error}.") from error
    try:
        return data_of(fields, known.request if known is not None else None)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"The parameter data is no JSON: {error}.") from error


def _is_json(kind: str) -> bool:
    name, *parameters = (part.strip().lower() for part in kind.split(";"))
    return name == "application/json" and all(each in ("", "charset=utf-8", 'charset="utf-8"') for each in parameters)


def _preferences(header: str) -> dict[str, str]:
    """Return the preferences of a Prefer header. The first one of a name counts (RFC 7240, section 2)."""
    found: dict[str, str] = {}
    for preference in header.split(","):
        name, _, value = preference.split(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def _seconds(text: str | None) -> float | None:
    """Return a number of seconds above 0; None for anything else."""
    if text is None or not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        return None
    return float(text) or None


def _uuid(key: str | None) -> str | None:
    """Return the id of a call from an Idempotency-Key, with quotation marks as in its specification or without."""
    if key is None:
        return None
    quoted = _QUOTED.fullmatch(key.strip())
    text = key.strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted[1])
    if quoted is None and re.search(r'[",;\s]', text):
        raise Problem(400, f"The Idempotency-Key {text[:80]!r} is not one key: put it into quotation marks.")
    try:
        return checked_uuid(text)
    except ValueError as error:
        raise Problem(400, f"The Idempotency-Key cannot be used. {error}") from error
