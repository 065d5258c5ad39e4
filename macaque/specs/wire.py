"""The JSON Schemas of the JSON in the body of macaque's messages. `docs/envelope.schema.json` has the same.

Pure.
"""

from __future__ import annotations

from typing import Any

__all__ = ["FAULT", "GRANT", "REPLY", "REQUEST"]

REQUEST: dict[str, Any] = {
    "description": "The body of a request. A service ignores members that it does not know.",
    "type": "object",
    "required": ["uuid", "data", "replyTo"],
    "properties": {
        "uuid": {"type": "string", "minLength": 1, "description": "The name of the call. The reply has the same."},
        "data": {"description": "The data that the function of the service gets."},
        "replyTo": {
            "type": ["string", "null"],
            "description": "The topic for the reply. If it is null or empty, no reply is sent.",
        },
        "expires": {
            "type": ["number", "null"],
            "description": "The time at which the caller stops waiting, in ms since 1970 UTC. "
            "A service drops a request that it gets later.",
        },
        "sentAt": {"type": ["number", "null"], "description": "The time of sending, in ms since 1970 UTC."},
        "source": {"type": ["string", "null"], "description": "The client id of the sender."},
        "seq": {
            "type": ["integer", "null"],
            "description": "The number of the item, from 0, if the request is one of many that belong together.",
        },
        "traceparent": {
            "type": ["string", "null"],
            "description": "The trace that the request continues, by W3C Trace Context: "
            "version, trace id, span id, flags.",
        },
        "tracestate": {"type": ["string", "null"], "description": "The data of tracing systems about that trace."},
        "window": {
            "type": ["integer", "null"],
            "description": "The number of parts that the caller takes before it grants more. Null: it takes no stream.",
        },
    },
}
FAULT: dict[str, Any] = {
    "description": "The reason why there is no data.",
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {
            "type": ["integer", "string"],
            "description": "By custom a status of HTTP, or a name. An exception in the service has 500.",
        },
        "message": {"type": "string", "description": "A sentence for people."},
        "type": {"type": ["string", "null"], "description": "The class of the exception."},
        "details": {"description": "Data for programs."},
        "retryable": {"type": "boolean", "default": False, "description": "Whether the same call may succeed later."},
        "traceback": {
            "type": ["string", "null"],
            "description": "The place of the error in the service, if the service runs with debug.",
        },
    },
}
REPLY: dict[str, Any] = {
    "description": "The body of a reply: data or an error.",
    "type": "object",
    "required": ["uuid"],
    "properties": {
        "uuid": {"type": "string", "description": "The uuid of the request."},
        "data": {"description": "The result of the function."},
        "error": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/MacaqueFault"}]},
        "seq": {
            "type": ["integer", "null"],
            "description": "The number of the part, from 0. At the end, the number of parts. Null: the only reply.",
        },
        "more": {
            "type": "boolean",
            "default": False,
            "description": "Whether this is a part of a stream that goes on.",
        },
        "control": {"type": ["string", "null"], "description": "The topic to which the caller sends grants."},
    },
    "anyOf": [{"required": ["data"]}, {"required": ["error"]}],
    "not": {"required": ["replyTo"]},
}
GRANT: dict[str, Any] = {
    "description": "A message of the caller to the topic `control` of a stream.",
    "type": "object",
    "required": ["uuid"],
    "properties": {
        "uuid": {"type": "string", "description": "The uuid of the request."},
        "upTo": {
            "type": "integer",
            "description": "The number of parts that may be sent, from the first one. "
            "Missing: the caller wants no more.",
        },
    },
}
