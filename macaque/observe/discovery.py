"""The discovery of services: each server answers on `macaque/services` with its identity, services and figures.

The answer is a service like any other, with credit of its own. So it does not wait behind functions that are busy.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

import mqlight
from macaque.client import Client
from macaque.errors import abort
from macaque.observe.info import ServerInfo, ServiceInfo, describe
from macaque.registry import Registry, Service
from macaque.worker import Worker
from mqlight.amqp.topics import matches
from mqlight.log import Log

__all__ = ["TOPIC", "Ask", "announcement", "ask", "on_announced"]

log = Log(__name__)

TOPIC = "macaque/services"
CREDIT = 4
"""The most questions that a server answers at a time."""

Detail = Literal["all", "ping", "info", "stats"]


class Ask(msgspec.Struct, rename="camel"):
    """The data of a question."""

    detail: Detail = "all"
    """"ping" asks for the server only, "info" for its services as well, "stats" for their figures."""
    topic: str | None = None
    """A topic. Only its services are told."""


def announcement(server_id: str, since: float, workers: Callable[[], Iterable[Worker]]) -> Service:
    """Return the service that answers for a server.

    Args:
        server_id: the client id of the server.
        since: when it was started, in ms since 1970.
        workers: returns the workers of its services.
    """

    def answer(question: Any) -> Any:
        """Return the identity of this server, its services and their figures."""
        try:
            wanted = msgspec.convert(question or {}, Ask)
        except msgspec.ValidationError as error:
            abort(400, f"This is no question about services: {error}.")
        info = ServerInfo(
            id=server_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            since=since,
            version=mqlight.__version__,
            python=".".join(map(str, sys.version_info[:3])),
        )
        if wanted.detail != "ping":
            info.services = [
                _tell(worker, wanted.detail)
                for worker in workers()
                if wanted.topic is None or matches(worker.service.topic, wanted.topic)
            ]
        return info

    return Registry().add(TOPIC, None, CREDIT, answer)


def on_announced(server_id: str, error: Exception | None) -> None:
    """Take the broker's answer to the subscription of an announcement. The server serves without it too."""
    if error is not None:
        log.info("%s is not shown by `macaque services`, because the broker refuses it: %s", server_id, error)


def _tell(worker: Worker, detail: Detail) -> ServiceInfo:
    service, figures = worker.service, worker.figures
    info = ServiceInfo(topic=service.topic, share=service.share_id) if detail == "stats" else describe(service)
    if detail != "info":
        info.calls, info.errors = figures.calls, figures.errors
        info.in_flight = worker.subscription.held + (0 if worker.overruns is None else worker.overruns.taken)
        info.p50, info.p99 = figures.percentile(50), figures.percentile(99)
    return info


def ask(
    client: Client,
    timeout: float,
    detail: Detail = "all",
    topic: str | None = None,
    on_answer: Callable[[ServerInfo], object] | None = None,
) -> list[ServerInfo]:
    """Ask all servers, and wait for their answers until `timeout` is over.

    Args:
        client: the client that asks.
        timeout: seconds.
        detail, topic: see `Ask`.
        on_answer: called with each answer when it arrives.

    Raises:
        NoResponders: no server has registered.
        Timeout: servers have registered, and none answers.
        ConnectionLost: there is no connection to the broker.
    """

    def tell(data: Any) -> None:
        if on_answer is not None and (info := _info(data)) is not None:
            on_answer(info)

    question = msgspec.to_builtins(Ask(detail, topic))
    answers = client.gather(TOPIC, question, tell, timeout, on_error=lambda error: None).result()
    found = [info for answer in answers if (info := _info(answer)) is not None]
    return sorted(found, key=lambda info: (info.host, info.since, info.id))


def _info(data: Any) -> ServerInfo | None:
    """Return the answer in the data of a reply; None if another program sent it."""
    try:
        return msgspec.convert(data, ServerInfo)
    except msgspec.ValidationError:
        return None
