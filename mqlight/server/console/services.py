"""The services that macaque's servers tell of themselves on ``macaque/services`` (docs/protocol.md). Pure.

The console asks while somebody looks. An answer counts until its server misses some further questions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mqlight.amqp.topics import matches
from mqlight.amqp.types import Outcome
from mqlight.server.broker import Broker
from mqlight.server.console.mailbox import Mailbox, Reply
from mqlight.server.publication import read_publication

TOPIC = "macaque/services"
EVERY, STALE, WANTED = 2.0, 7.0, 5.0
"""Seconds between two questions, until an answer is too old to be shown, and for which a look counts."""
MOST_SERVERS, MOST_SERVICES, MOST_DOC, MOST_SCHEMA = 500, 200, 4000, 16 * 1024
"""The most servers, services of each, characters of a text, and bytes of a JSON Schema, that are kept."""
_NO_SCHEMA = msgspec.Raw(b"null")


class Service(msgspec.Struct, rename="camel"):
    """A service in the answer of one server."""

    topic: str
    share: str | None = None
    credit: int | None = None
    timeout: float | None = None
    doc: str | None = None
    request: msgspec.Raw = msgspec.Raw()
    reply: msgspec.Raw = msgspec.Raw()
    calls: int = 0
    errors: int = 0
    in_flight: int = 0
    p50: float | None = None
    p99: float | None = None


class Server(msgspec.Struct):
    """The answer of one server."""

    id: str
    host: str = ""
    pid: int = 0
    since: float = 0
    version: str = ""
    services: list[Service] = []


class Services:
    """The servers' answers about their services.

    Args:
        broker: The server's broker.
        mailbox: The topic for the answers, of this part alone.
    """

    def __init__(self, broker: Broker, mailbox: Mailbox) -> None:
        self._broker = broker
        self._mailbox = mailbox
        self.topics = {TOPIC, mailbox.topic}
        """The topics of the questions and their answers."""
        self._answers: dict[str, tuple[float, Server]] = {}
        """The newest answer of each server with its time, by the server's id."""
        self._questions = 0
        self._asked_at = self._wanted_at = float("-inf")
        self._key = ""
        self._answered: set[str] = set()

    def look(self, now: float) -> None:
        """Note that a page shows the services."""
        self._wanted_at = now

    def tick(self, now: float) -> bool:
        """Ask if it is time to. Return whether a question was sent. Call this about ten times a second."""
        if now - self._wanted_at > WANTED or now - self._asked_at < EVERY:
            return False
        self.ask(now)
        return True

    def ask(self, now: float) -> None:
        """Ask all servers now."""
        self._asked_at = now
        self._answered.clear()
        self._mailbox.forget(self._key)
        self._key, data = self._mailbox.request(TOPIC, msgspec.Raw(b'{"detail":"all"}'), 5000, now, self._hear(now))
        outcome, _ = self._broker.publish(read_publication(data, TOPIC), now)
        self._questions += outcome is not Outcome.RELEASED

    @property
    def messages(self) -> int:
        """The number of questions that servers got, and of answers."""
        return self._questions + self._mailbox.received

    @property
    def complete(self) -> bool:
        """Whether every server has answered the last question."""
        asked = {
            id(consumer)
            for destination in self._broker.destinations.values()
            if matches(destination.name.pattern, TOPIC)
            for consumer in destination.consumers
        }
        return len(self._answered) >= len(asked)

    def _hear(self, now: float) -> Callable[[Reply], None]:
        def hear(reply: Reply) -> None:
            try:
                server = msgspec.json.decode(reply.get("data", b"null"), type=Server)
            except msgspec.DecodeError:
                return  # it is no answer
            del server.services[MOST_SERVICES:]
            for service in server.services:
                service.request, service.reply = _schema(service.request), _schema(service.reply)
            self._answered.add(server.id)
            self._answers.pop(server.id, None)
            self._answers[server.id] = (now, server)
            while len(self._answers) > MOST_SERVERS:
                del self._answers[next(iter(self._answers))]

        return hear

    def rows(self, now: float, seen: Callable[[str], bool]) -> list[dict[str, Any]]:
        """Return the services, by topic, with their workers. ``seen`` says of which topics all may be shown."""
        self._answers = {name: each for name, each in self._answers.items() if now - each[0] <= STALE}
        found: dict[str, dict[str, Any]] = {}
        servers = (server for _, server in self._answers.values())
        for server in sorted(servers, key=lambda each: each.id):  # always in this order, so that no form changes
            for service in server.services:
                row = found.setdefault(service.topic, self._row(service, visible=seen(service.topic)))
                row["workers"].append(_worker(server, service))
        return sorted(found.values(), key=lambda row: str(row["topic"]))

    def _row(self, service: Service, *, visible: bool) -> dict[str, Any]:
        waiting = [
            (each.number, each.count)
            for each in self._broker.destinations.values()
            if each.name.pattern == service.topic
        ]
        return {
            "topic": service.topic,
            "doc": (service.doc or "")[:MOST_DOC] if visible else "",
            "request": service.request if visible else _NO_SCHEMA,
            "reply": service.reply if visible else _NO_SCHEMA,
            "waiting": sum(each for _, each in waiting),
            "destinations": [number for number, _ in waiting],
            "workers": [],
        }


def _schema(schema: msgspec.Raw) -> msgspec.Raw:
    """Return a copy of a JSON Schema of usual size; else JSON's null."""
    usual = bytes(schema).lstrip()[:1] == b"{" and len(bytes(schema)) <= MOST_SCHEMA
    return schema.copy() if usual else _NO_SCHEMA


def _worker(server: Server, service: Service) -> dict[str, Any]:
    return {
        "id": server.id, "host": server.host, "pid": server.pid, "since": int(server.since), "version": server.version,
        "share": service.share, "credit": service.credit, "timeout": service.timeout, "calls": service.calls,
        "errors": service.errors, "in_flight": service.in_flight, "p50": _ms(service.p50), "p99": _ms(service.p99),
    }  # fmt: skip


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
