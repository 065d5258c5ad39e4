"""Servers and their services as other programs see them: in discovery, documents and pages.

Pure: services are looked at, and not called.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from macaque.registry import Service

__all__ = ["ServerInfo", "ServiceInfo", "describe"]


class ServiceInfo(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One service of one server. A member without a value is missing in the answer."""

    topic: str
    share: str | None = None
    credit: int | None = None
    """The most requests that the server works on at a time."""
    timeout: float | None = None
    """Seconds in which the function must return."""
    doc: str | None = None
    safe: bool = False
    """Whether the function changes nothing."""
    streams: bool = False
    """Whether the reply is a stream of parts."""
    request: dict[str, Any] | None = None
    """The JSON Schema of the data of a request."""
    reply: dict[str, Any] | None = None
    """The JSON Schema of the data of a reply."""
    calls: int | None = None
    """Requests whose function has ended, since the server was started."""
    errors: int | None = None
    """Requests that ended in an error, or exceeded the timeout of the service."""
    in_flight: int | None = None
    """Requests that the server works on, or that wait there for a place."""
    p50: float | None = None
    """Seconds within which half of the last 1000 functions ended."""
    p99: float | None = None
    """Seconds within which 99 of 100 of them ended."""


class ServerInfo(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The answer of one server."""

    id: str
    """The client id of the server."""
    host: str
    pid: int
    since: float
    """When the server was started, in ms since 1970."""
    version: str
    """The version of macaque."""
    python: str
    services: list[ServiceInfo] | None = None


def describe(service: Service) -> ServiceInfo:
    """Return what is known of a service before it serves."""
    schemas = service.codec.schema()
    return ServiceInfo(
        topic=service.topic,
        share=service.share_id,
        credit=service.credit,
        timeout=service.timeout,
        doc=inspect.getdoc(service.function),
        safe=service.safe,
        streams=service.kind.streams,
        request=schemas.get("request"),
        reply=schemas.get("reply"),
    )
