"""Services as an AsyncAPI 3.0 document: the messages of AMQP, for people and generators.

The rules of this file:

* The document is that of the services: they receive requests, and reply.
* A channel is a topic or a pattern. The replies to a service have a channel without an address, because each caller
  has a topic of its own for them.
* The payload of a message is the envelope (`wire`), with the schema of the service's data in it.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from macaque.observe.info import ServiceInfo
from macaque.specs import wire
from macaque.specs.schemas import Schema, Schemas, unique
from macaque.specs.topics import address, by_topic, identifier, summary
from mqlight.urls import PORTS, split, split_list

__all__ = ["asyncapi"]

BINDINGS: dict[str, Any] = {"amqp1": {}}
"""AMQP 1.0. AsyncAPI defines the name of this binding, and no members."""
ENVELOPE: dict[str, Any] = {
    "contentType": "application/json",
    "correlationId": {"location": "$message.payload#/uuid", "description": "A reply has the uuid of its request."},
    "externalDocs": {
        "description": "The protocol of macaque",
        "url": "https://github.com/macaque-amqp/macaque/blob/main/docs/protocol.md",
    },
    "bindings": BINDINGS,
}
"""The parts that all messages have."""
ABOUT = (
    "Services over AMQP 1.0, written with macaque. A caller sends a request to the topic of a service. The service "
    "replies to the topic that the request names in `replyTo`. The body of each message is JSON as text, with the "
    "AMQP `content-type` `text/plain`. A service also takes bare data with the AMQP properties `reply-to` and "
    "`correlation-id`."
)


def asyncapi(services: Iterable[ServiceInfo], *, title: str, version: str, broker: str | None = None) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of services, of which JSON can be made.

    Args:
        services: the services, in any order. Those that several servers serve may come several times.
        title, version: of the document.
        broker: the URL of the broker, or several with commas between them. Users and passwords are left out. None tells
            no broker.

    Raises:
        ValueError: `broker` is no URL of a broker.
    """
    return _Document(services).document(title, version, broker)


class _Document:
    """The parts of a document, which are collected service by service."""

    def __init__(self, services: Iterable[ServiceInfo]) -> None:
        self.schemas = Schemas(draft7=True)
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.messages: dict[str, Any] = {}
        self.fault = self.schemas.define("MacaqueFault", wire.FAULT)
        self.request = self.schemas.define("MacaqueRequest", wire.REQUEST)
        self.reply = self.schemas.define("MacaqueReply", wire.REPLY)
        found = by_topic(services)
        if any(each.streams for group in found.values() for each in group):
            self._add_control()
        for topic, group in found.items():
            self._add_topic(topic, group)

    def document(self, title: str, version: str, broker: str | None) -> dict[str, Any]:
        servers = {} if broker is None else {"servers": _servers(broker)}
        return {
            "asyncapi": "3.0.0",
            "info": {"title": title, "version": version, "description": ABOUT},
            "defaultContentType": "application/json",
            **servers,
            "channels": self.channels,
            "operations": self.operations,
            "components": {
                "messages": self.messages,
                "messageTraits": {"envelope": ENVELOPE},
                "schemas": self.schemas.components,
            },
        }

    def _add_control(self) -> None:
        """Add the channel on which a caller controls a stream."""
        grant = self._message("macaque_grant", "A grant of more parts, or the end of the stream.", wire.GRANT)
        self.channels["macaque_control"] = _channel(None, "The grants to a stream", {"grant": grant})
        self.operations["macaque_control"] = {
            "action": "receive",
            "channel": {"$ref": "#/channels/macaque_control"},
            "summary": "Send more parts of a stream. Each part names the topic for this in `control`.",
            "messages": [{"$ref": "#/channels/macaque_control/messages/grant"}],
            "bindings": BINDINGS,
        }

    def _add_topic(self, topic: str, services: list[ServiceInfo]) -> None:
        """Add the channel of a topic, and an operation for each service there."""
        place, parameters = address(topic)
        name = unique(identifier(topic), self.channels)
        requests: dict[str, Any] = {}
        channel = self.channels[name] = _channel(place, f"The requests to {topic}", requests)
        if parameters:
            channel |= {"parameters": parameters, "x-pattern": topic}
        for service in services:
            operation = unique(name, self.operations)
            message = unique("request", requests)
            requests[message] = self._message(
                f"{operation}_request",
                f"A request to {topic}.",
                _with(self.request, data=self.schemas.add(service.request)),
            )
            replies = unique(f"{operation}_reply", self.channels)
            self.channels[replies] = _channel(None, f"The replies of {topic}", self._replies(operation, service))
            self.operations[operation] = {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{name}"},
                **_about(service),
                "messages": [{"$ref": f"#/channels/{name}/messages/{message}"}],
                "reply": {
                    "address": {"location": "$message.payload#/replyTo", "description": "The topic of the caller."},
                    "channel": {"$ref": f"#/channels/{replies}"},
                    "messages": [
                        {"$ref": f"#/channels/{replies}/messages/{each}"} for each in self.channels[replies]["messages"]
                    ],
                },
                "bindings": BINDINGS,
            }

    def _replies(self, operation: str, service: ServiceInfo) -> dict[str, Any]:
        """Return the messages with which a service replies."""
        data = self.schemas.add(service.reply)
        if not service.streams:
            found = {
                "reply": self._message(
                    f"{operation}_reply", "The result.", _with(self.reply, required=["data"], data=data)
                )
            }
        else:
            part = _with(
                self.reply, required=["data", "seq", "more", "control"],
                data=data, seq={"type": "integer", "minimum": 0}, more={"const": True}, control={"type": "string"},
            )  # fmt: skip
            end = _with(self.reply, required=["seq"], seq={"type": "integer", "minimum": 0}, more={"const": False})
            found = {
                "part": self._message(f"{operation}_part", "A part of the stream.", part),
                "end": self._message("macaque_end", "The end of a stream, with the number of its parts.", end),
            }
        error = _with(self.reply, required=["error"], error=self.fault)
        return {**found, "error": self._message("macaque_error", "An error, in place of the result or the end.", error)}

    def _message(self, name: str, summary: str, payload: Schema) -> Schema:
        """Add a message. Return a reference to it. Generators name the class of a payload after its title."""
        self.messages[name] = {
            "name": name,
            "summary": summary,
            "payload": {"title": name, **payload},
            "traits": [{"$ref": "#/components/messageTraits/envelope"}],
        }
        return {"$ref": f"#/components/messages/{name}"}


def _with(envelope: Schema, required: list[str] | None = None, **members: Schema) -> Schema:
    """Return the schema of an envelope whose members have these schemas."""
    narrowed: Schema = {"type": "object", "properties": members}
    return {"allOf": [envelope, narrowed if required is None else {**narrowed, "required": required}]}


def _channel(place: str | None, title: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {"address": place, "title": title, "messages": messages, "bindings": BINDINGS}


def _about(service: ServiceInfo) -> dict[str, Any]:
    """Return the members of an operation that tell of the service itself."""
    told = {
        "title": service.topic,
        "summary": summary(service),
        "description": service.doc,
        "x-share": service.share,
        "x-credit": service.credit,
        "x-timeout": service.timeout,
        "x-safe": service.safe or None,
        "x-streams": service.streams or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _servers(broker: str) -> dict[str, Any]:
    """Return the Server Objects of brokers, without users, passwords and options. A lookup URL names no broker."""
    found: dict[str, Any] = {}
    for parts in [split(url)[0] for url in split_list(broker)]:
        if parts.scheme in PORTS:
            found[unique("broker", found)] = {
                "host": parts.netloc.rpartition("@")[2],
                "protocol": parts.scheme,
                "protocolVersion": "1.0",
                "bindings": BINDINGS,
            }
    return found
