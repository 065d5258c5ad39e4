"""The content of a message in readable form: its body as text, its properties, and its role as request or reply.

Pure. The bytes come from untrusted clients, so :func:`read` never raises.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from mqlight.amqp.message import Message, MessageError, decode
from mqlight.amqp.sections import topic_of
from mqlight.amqp.text import trace_id_of

MOST_TEXT = 64 * 1024
"""The most characters of a body that are shown."""
PREVIEW = 200
"""The most characters of a body that a row shows."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_MOST_JSON = 256 * 1024
_HIDDEN = {"body", "to", "ttl", "durable", "priority", "first_acquirer", "delivery_count", "properties", "annotations",
           "delivery_annotations", "footer"}  # fmt: skip


class Content(msgspec.Struct, frozen=True):
    """A message as the console shows it."""

    kind: str
    """``json``, ``text``, ``binary``, ``value`` (another AMQP value) or ``unreadable``."""
    text: str = ""
    """The body, at most ``MOST_TEXT`` characters of it. Binary data is in hexadecimal."""
    cut: bool = False
    """Whether the body is longer than ``MOST_TEXT``."""
    preview: str = ""
    properties: dict[str, str] = {}
    """AMQP's properties, by their names in the specification (section 3.2.4)."""
    headers: dict[str, str] = {}
    """The application properties."""
    role: str = ""
    """``request``, ``reply``, ``error`` (a reply that reports a failure of the service), or empty."""
    key: str = ""
    """The key that a request and its reply share."""
    reply_to: str = ""
    error: str = ""
    data: str = ""
    """The data of a request as JSON, as ``macaque call`` takes it."""
    topic: str = ""
    """The topic in the message itself, or empty."""
    trace: str = ""
    """The id of the trace (W3C Trace Context) that the message carries, or empty."""
    span: str = ""
    """The id of the sender's span in that trace: all calls that a service makes for one request have the same."""

    @property
    def trace_id(self) -> str:
        """The id of the trace. A request that carries none begins one, whose id follows from its key."""
        return self.trace or (trace_id_of(self.key) if self.key else "")


def read(data: bytes) -> Content:
    """Return the content of a message's sections."""
    try:
        message = decode(data)
    except MessageError as error:
        return Content("unreadable", str(error), preview=str(error)[:PREVIEW])
    kind, text, value = _body(message)
    inside = _inside(text, value)
    preview = " ".join(inside[: 2 * PREVIEW].split())[:PREVIEW]
    properties = {
        name.replace("_", "-"): _shown(field)
        for name in message.__struct_fields__
        if name not in _HIDDEN and (field := getattr(message, name)) is not None
    }
    headers = {str(name): _shown(value) for name, value in (message.properties or {}).items()}
    role, key, reply_to, failure, request = _call(message, kind, value)
    cut, topic = len(text) > MOST_TEXT, topic_of(message.to or "")
    return Content(
        kind, text[:MOST_TEXT], cut, preview, properties, headers, role, key, reply_to, failure, request, topic,
        *_trace(value, headers),
    )  # fmt: skip


def _trace(value: Any, headers: dict[str, str]) -> tuple[str, str]:
    """Return the ids of trace and span in the envelope or in the application properties, if they are valid."""
    inside = value.get("traceparent") if isinstance(value, dict) else None
    for each in (inside, headers.get("traceparent")):
        found = _TRACEPARENT.match(each) if isinstance(each, str) else None
        if found is not None and found[1].strip("0"):
            return found[1], found[2]
    return "", ""


def _inside(text: str, value: Any) -> str:
    """Return the part of a body for the preview: the data or the error of macaque's envelope, as it is written."""
    if isinstance(value, dict) and "uuid" in value:
        for name in ("error", "data"):
            if name in value:
                return bytes(msgspec.json.decode(text, type=dict[str, msgspec.Raw])[name]).decode()
    return text


def _body(message: Message) -> tuple[str, str, Any]:
    """Return the kind of a body, its text, and its value if it is JSON."""
    body = message.body
    if isinstance(body, bytes):
        try:
            text = body[: 4 * MOST_TEXT].decode()
        except UnicodeDecodeError:
            return "binary", body[: MOST_TEXT // 3 + 1].hex(" "), None
        if any(not c.isprintable() and c not in "\t\r\n" for c in text[:PREVIEW]):
            return "binary", body[: MOST_TEXT // 3 + 1].hex(" "), None
    elif isinstance(body, str):
        text = body
    else:
        return "value", repr(body), None
    if len(text) <= _MOST_JSON and (text[:1] in ("{", "[") or "json" in (message.content_type or "")):
        try:
            return "json", text, msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            pass
    return "text", text, None


def _call(message: Message, kind: str, value: Any) -> tuple[str, str, str, str, str]:
    """Return role, key, topic for the reply, error and data, as docs/protocol.md defines them."""
    correlation, headers = message.correlation_id, message.properties or {}
    if isinstance(value, dict) and isinstance(value.get("uuid"), str):
        key, reply_to = value["uuid"], value.get("replyTo")
        if isinstance(reply_to, str) and reply_to:
            return "request", key, reply_to, "", _json(value.get("data"))
        if "error" in value:
            error = value["error"]
            text = f"{error.get('code', '')} {error.get('message', '')}" if isinstance(error, dict) else str(error)
            return "error", key, "", text.strip()[:PREVIEW], ""
        if "replyTo" not in value and "data" in value and correlation is not None:
            return "reply", key, "", "", ""
    if message.reply_to and (correlation is not None or message.message_id is not None):
        key = str(correlation if correlation is not None else message.message_id)
        return "request", key, message.reply_to, "", _json(value) if kind == "json" else ""
    if correlation is not None:
        if "error-code" in headers:
            text = f"{headers['error-code']} {headers.get('error-message', '')}"
            return "error", str(correlation), "", text[:PREVIEW], ""
        return "reply", str(correlation), "", "", ""
    return "", "", "", "", ""


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:MOST_TEXT]


def _shown(value: Any) -> str:
    return value[:1000] if isinstance(value, str) else repr(value)[:1000]
