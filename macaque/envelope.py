"""Requests and replies of macaque as AMQP messages: encoding and decoding.

The rules of this file:

* A request is the JSON `{"uuid", "data", "replyTo"}`, a reply is `{"uuid", "data"}` or `{"uuid", "error"}`. Further
  members are optional (`expires`, `sentAt`, `source`, `seq`, `traceparent`, `tracestate`). These names never change,
  and unknown members are skipped.
* The JSON travels as text with content type `text/plain`, as the first macaque sent it. Under `application/json` the
  MQ Light clients parse a body themselves, and the first macaque would then parse it a second time.
* The AMQP properties repeat this for a client that knows only AMQP 1.0. Such a client may send bare data with
  `reply-to`, and gets a bare reply with its `correlation-id`.
* A request comes from unknown programs. Decoding raises only BadRequest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from macaque.errors import MacaqueError, RemoteError
from macaque.plain import plain
from macaque.traces import Trace
from mqlight.amqp.fast_messages import TRACEPARENT, text_body, text_message, with_trace
from mqlight.amqp.message import Message, MessageError, decode, decode_properties, encode
from mqlight.json_text import refuse_nan, short, to_json

__all__ = ["BadReply", "BadRequest", "Fault", "Reply", "Request", "decode_data"]

CONTENT_TYPE = "text/plain"
BARE_CONTENT_TYPE = "application/json"
MAX_TTL = 0xFFFFFFFF
"""Milliseconds: AMQP's ttl is an unsigned 32-bit number (section 3.2.1)."""

Id = Any
"""A message id of AMQP: str, bytes, int or UUID."""


class BadRequest(MacaqueError, ValueError):
    """The bytes are not a request. The message of the error tells what is wrong with them.

    Attributes:
        asked: a request without data, used to answer the sender; None if the message names no `reply-to`.
    """

    def __init__(self, message: str, asked: BareRequest | None = None) -> None:
        super().__init__(message)
        self.asked = asked


class BadReply(MacaqueError, ValueError):
    """The bytes are not a reply."""


class Request(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A request. Times are in ms since 1970. With `reply_to` None or empty, no caller waits for a reply."""

    uuid: str
    raw: msgspec.Raw = msgspec.field(name="data")
    """The data. If the request has it as JSON, it is decoded when the function runs. Otherwise it is any value."""
    reply_to: str | None = None
    expires: float | None = None
    sent_at: float | None = None
    source: str | None = None
    seq: int | None = None
    """The number of the item, from 0, if the request is one of many that belong together."""
    traceparent: str | None = None
    tracestate: str | None = None
    """The trace of the request (`macaque.traces`), as in its application properties."""
    window: int | None = None
    """The number of parts that the caller takes before it grants more; None if it does not take a stream."""

    @property
    def data(self) -> Any:
        """The data. Raises ValueError or RecursionError if the JSON cannot be decoded."""
        return decode_data(self.raw) if type(self.raw) is msgspec.Raw else self.raw


class BareRequest(Request):
    """A request of a client that knows only AMQP 1.0. `data` was the whole body, `correlation` is the message's id."""

    correlation: Id = None


class Fault(msgspec.Struct, omit_defaults=True):
    """The `error` of a reply. RemoteError tells what its members mean."""

    code: int | str
    message: str
    type: str | None = None
    details: Any = None
    retryable: bool = False
    traceback: str | None = None

    def exception(self) -> RemoteError:
        return RemoteError(self.code, self.message, self.type, self.details, self.retryable, self.traceback)

    @classmethod
    def of(cls, error: RemoteError) -> Fault:
        return cls(error.code, error.message, error.type, error.details, error.retryable, error.traceback)


class Reply(msgspec.Struct):
    """A reply: `error` if it is not None, else `data`."""

    uuid: str
    data: Any = None
    error: Fault | None = None
    seq: int | None = None
    """The number of the part, from 0, or the number of parts at the end; None if this is the only reply."""
    more: bool = False
    """Whether this is a part of a stream that goes on."""
    control: str | None = None
    """The topic for grants of more parts."""


class _Result(msgspec.Struct):
    uuid: str
    data: Any


class _Failure(msgspec.Struct, omit_defaults=True):
    uuid: str
    error: Fault
    seq: int | None = None


_to_request: Callable[[Any], Request] = msgspec.json.Decoder(Request).decode
_to_reply: Callable[[Any], Reply] = msgspec.json.Decoder(Reply).decode
_to_members: Callable[[Any], dict[str, Any]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
decode_data: Callable[[Any], Any] = msgspec.json.Decoder().decode


def json_of(envelope: object, data: object, what: str) -> bytes:
    try:
        if data is msgspec.UNSET:  # msgspec would omit a member of the envelope with this value
            raise TypeError("UNSET is no value")
        text = to_json(envelope)
        if b"null" in text:
            refuse_nan(data)
        return text
    except (TypeError, ValueError, OverflowError, RecursionError, BufferError) as error:
        raise TypeError(f"The {what} {short(data)} cannot be sent as JSON: {error}.") from error


# Requests


def expiry(now: float, timeout: float) -> int:
    """Return the `expires` of a request, in ms since 1970, from its time and its timeout in seconds."""
    return int(now * 1000) + int(timeout * 1000)


def encode_request(
    uuid: str,
    topic: str,
    data: Any,
    reply_to: str,
    *,
    now: float,
    timeout: float,
    source: str | None = None,
    seq: int | None = None,
    trace: Trace | None = None,
    window: int | None = None,
) -> bytes:
    """Return the AMQP message of a call of the service at `topic`.

    Args:
        data: any value that JSON can carry, and more types that msgspec converts: dates, UUIDs, dataclasses, sets. NaN
            becomes null.
        now: seconds since 1970.
        timeout: seconds that the caller waits. Then neither the broker nor a service begins to process the request.
        source: the client id of the caller. If it is given, the request also has the time.
        seq: the number of the item, if the request is one of many.
        trace: the trace that the request continues.
        window: the number of parts that the caller takes before it grants more, if it takes a stream.

    Raises:
        TypeError: JSON cannot represent `data`; the sentence names the value.
    """
    milliseconds = int(timeout * 1000)
    request = Request(uuid, data, reply_to, int(now * 1000) + milliseconds)  # as in expiry()
    if window is not None:
        request.window = window
    if source is not None:
        request.sent_at, request.source, request.seq = int(now * 1000), source, seq
    if trace is not None:
        request.traceparent, request.tracestate = trace
    body = json_of(request, data, "data")
    ttl = min(max(milliseconds, 1), MAX_TTL)
    if trace is None:
        return text_message(body, topic, uuid, reply_to, None, ttl)
    return _traced_message(body, topic, uuid, reply_to, ttl, trace)


def encode_notice(
    uuid: str, topic: str, data: Any, source: str, *, now: float, ttl: float | None, trace: Trace | None = None
) -> bytes:
    """Return the AMQP message of a one-way message to the service at `topic`.

    Args:
        data: as for `encode_request`.
        source: the client id of the sender.
        now: seconds since 1970.
        ttl: seconds after which the message is discarded; None means never.
        trace: the trace that the message continues.

    Raises:
        TypeError: JSON cannot represent `data`; the sentence names the value.
    """
    milliseconds = None if ttl is None else min(max(int(ttl * 1000), 1), MAX_TTL)
    expires = None if milliseconds is None else int(now * 1000) + milliseconds
    request = Request(uuid, data, None, expires, None, source)
    if trace is not None:
        request.traceparent, request.tracestate = trace
    body = json_of(request, data, "data")
    if trace is None:
        return text_message(body, topic, uuid, None, None, -1 if milliseconds is None else milliseconds)
    return _traced_message(body, topic, uuid, None, milliseconds, trace)


def _traced_message(body: bytes, topic: str, uuid: str, reply_to: str | None, ttl: int | None, trace: Trace) -> bytes:
    """Return the AMQP message of a request whose application properties have its trace. `ttl` is in ms."""
    if trace.state is None and len(trace.parent) == TRACEPARENT:
        message = text_message(body, topic, uuid, reply_to, None, -1 if ttl is None else ttl)
        return with_trace(message, body, trace.parent)
    properties = {"traceparent": trace.parent}
    if trace.state is not None:
        properties["tracestate"] = trace.state
    return encode(
        Message(
            body=body.decode(),
            to=topic,
            message_id=uuid,
            reply_to=reply_to,
            content_type=CONTENT_TYPE,
            ttl=ttl,
            properties=properties,
        )
    )


def encode_again(message: bytes, topic: str) -> bytes:
    """Return a request as a new AMQP message to `topic`, without attempts, deadline, or waiting caller.

    The other members of its envelope stay as they are. A bare request keeps its `reply-to`, because that property makes
    it a request.

    Raises:
        BadRequest: the bytes are not an AMQP message.
    """
    try:
        old = decode(message)
    except MessageError as error:
        raise BadRequest(f"The request is no AMQP message. {error}") from error
    body, reply_to = old.body, old.reply_to
    try:
        members = _to_members(body)
        if "uuid" in members and "data" in members:
            kept = {name: value for name, value in members.items() if name not in ("replyTo", "expires")}
            body, reply_to = msgspec.json.encode(kept).decode(), None
    except (TypeError, ValueError, RecursionError):
        pass  # the body is bare data
    again = {"delivery_count": 0, "ttl": None, "absolute_expiry_time": None, "first_acquirer": False}
    return encode(msgspec.structs.replace(old, body=body, to=topic, reply_to=reply_to, **again))


def encode_data(data: object) -> msgspec.Raw:
    """Return the JSON of a result, for several calls of `encode_reply`. Raises TypeError as `encode_reply` does."""
    return msgspec.Raw(json_of(data, data, "result"))


def decode_request(message: bytes) -> Request:
    """Return the request in an AMQP message: with macaque's envelope, or bare data with a `reply-to` property.

    A JSON object with `uuid` and `data` is an envelope, unless only the property tells where the reply goes. Bare data
    becomes plain Python, whatever AMQP type it had.

    Raises:
        BadRequest: the message is neither of the two, or its data cannot be decoded.
    """
    text = text_body(message)
    if text is not None:
        try:
            request = _to_request(text)
        except (ValueError, RecursionError):
            pass  # the slower code below finds out the kind of the message
        else:
            if request.reply_to:
                return request
    try:
        received = decode(message)
    except MessageError as error:
        known = decode_properties(message)
        asked = None if known is None or not known.reply_to else _bare_request(known, None)
        raise BadRequest(f"The request is no AMQP message. {error}", asked) from error
    body, reply_to = received.body, received.reply_to
    if isinstance(body, str):
        body = str(body)  # a symbol or a char is text too, but msgspec does not accept it
    wrong: object = "its body is not text"
    if isinstance(body, str) or type(body) is bytes:
        try:
            request = _to_request(body)
        except (ValueError, RecursionError) as error:
            wrong = error
        else:
            if request.reply_to or not reply_to:
                return request
    if not reply_to:
        raise BadRequest(
            f"The request is neither JSON with 'uuid', 'data' and 'replyTo' ({wrong}) nor has it a reply-to property."
        )
    try:
        return _bare_request(received, _bare(body, received.content_type))
    except (TypeError, ValueError, RecursionError) as error:
        said = f"The data of the request cannot be decoded: {error}."
        raise BadRequest(said, _bare_request(received, None)) from error


def _bare_request(message: Message, data: Any) -> BareRequest:
    correlation = message.message_id if message.correlation_id is None else message.correlation_id
    return BareRequest("" if correlation is None else str(correlation), data, message.reply_to, correlation=correlation)


def _bare(body: Any, content_type: str | None) -> Any:
    """Return the data of a bare request. Raises TypeError, ValueError or RecursionError if it cannot be decoded."""
    if isinstance(body, str) or type(body) is bytes:
        try:
            return decode_data(body)
        except ValueError:  # RecursionError: it is JSON, perhaps an envelope, and no text
            if content_type is not None and content_type.partition(";")[0].strip().lower() == BARE_CONTENT_TYPE:
                raise
            return str(body) if isinstance(body, str) else body
    return plain(body)


# Replies


def encode_reply(request: Request, data: object) -> bytes:
    """Return the AMQP message of the reply to `request`, whose `reply_to` is not None.

    Raises:
        TypeError: JSON cannot represent `data`; the sentence names the value.
    """
    if type(request) is BareRequest:
        return _bare_reply(request, data)
    body = json_of(_Result(request.uuid, data), data, "result")
    return text_message(body, request.reply_to, None, None, request.uuid)


def encode_fault(request: Request, fault: Fault, seq: int | None = None) -> bytes:
    """Return the AMQP message of an error as the reply to `request`. `seq`: after so many parts of a stream.

    For a bare request the body is the error. The application properties `error-code` and `error-message` tell it from a
    result. `error_code` and `error_message` repeat them for JMS, whose names have no hyphen.

    Raises:
        TypeError: JSON cannot represent the fault's details.
    """
    if type(request) is BareRequest:
        properties = {
            "error-code": fault.code, "error-message": fault.message,
            "error_code": fault.code, "error_message": fault.message,
        }  # fmt: skip
        return _bare_reply(request, fault, properties)
    body = json_of(_Failure(request.uuid, fault, seq), fault.details, "details of the error")
    return text_message(body, request.reply_to, None, None, request.uuid)


def _bare_reply(request: BareRequest, data: object, properties: dict[str, Any] | None = None) -> bytes:
    return encode(
        Message(
            body=json_of(data, data, "result").decode(),
            to=request.reply_to,
            correlation_id=request.correlation,
            content_type=BARE_CONTENT_TYPE,
            properties=properties,
        )
    )


def decode_reply(message: bytes) -> Reply:
    """Return the reply in an AMQP message.

    Raises:
        BadReply: the message contains no reply.
    """
    text = text_body(message)
    try:
        return _to_reply(decode(message).body if text is None else text)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadReply(f"The message is no reply: {error}") from error
