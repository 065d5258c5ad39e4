"""The examination of a broker: a test of everything that a macaque program needs of it, step by step.

The rules of this file:

* Each step has a time limit and a finding. A step that depends on a failed one is not tried.
* Nothing is left behind, except the share of the dead letters, which every service makes. Deleting that share would
  lose the dead letters of other programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from statistics import median
from time import monotonic
from uuid import uuid4

from macaque import dead_letter
from macaque.client import REPLY_TTL, Client
from macaque.control import cancel_topic, stream_topic
from macaque.doctor.finding import Finding, Status
from macaque.doctor.login import log_in
from macaque.doctor.network import reach
from macaque.errors import MacaqueError
from macaque.exchange import Exchange, words
from macaque.ids import made_up_id
from macaque.observe import discovery
from macaque.server import Server
from mqlight.addresses import Addresses, Endpoint
from mqlight.delivery import Delivery
from mqlight.dialects.base import Dialect, Wanted
from mqlight.dialects.keys import key_of_pattern, key_of_topic
from mqlight.errors import MQLightError
from mqlight.security import Security

__all__ = ["ROLES", "SHARE", "TOPIC", "Examination"]

TOPIC = "macaque/doctor"
"""The beginning of the temporary topics."""
SHARE = "macaque-doctor"
SHARE_TTL = 60
"""Seconds after which the broker drops the remains, if this process is killed."""
ROLES = ("both", "caller", "service")
CALLS = 10
SMALL = 1 << 20
"""Bytes: a limit below this is worth a warning."""
LEAVE = 2.0
NOTICE = '{"uuid": "macaque-doctor", "data": {"detail": "ping"}}'
"""A one-way message that servers take and do not answer."""

MakeProbe = Callable[..., Exchange]
"""`probe(client_id)` returns a probe that lasts until the end of the examination."""


class Examination:
    """Examines the broker at a list of addresses, for a user that is a caller, a service, or both (`role`).

    Args:
        security: the user for addresses without a user.
        topic: the beginning of the temporary topics.
        timeout: seconds for one step.
    """

    def __init__(
        self, service: Addresses, security: Security, *, role: str = "both", topic: str = TOPIC, timeout: float = 5.0
    ) -> None:
        self._all = service
        self._security = security
        self._calls, self._serves = role != "service", role != "caller"
        self._topic = f"{topic}/{uuid4().hex[:12]}"
        self._timeout = timeout
        self._service = service
        self._endpoint: Endpoint | None = None
        """The first endpoint that accepts the login. Then `_service` has only it, and `_dialect` is its dialect."""
        self._dialect: Dialect

    def examine(self) -> Iterator[Finding]:
        """Yield the findings: every address up to the login, then the permissions at the first address that works."""
        try:
            endpoints = self._all.urls()
        except MQLightError as error:
            advice = "correct that URL; it must answer with JSON that lists the broker's addresses"
            url = getattr(error, "url", None) or ""
            yield Finding(step="name", status=Status.FAILED, said=str(error), advice=advice, url=url)
            return
        for endpoint in endpoints:
            service = Addresses([endpoint], self._security)
            usable = True
            for finding in reach(service, endpoint, self._timeout):
                usable = finding.status is not Status.FAILED
                yield finding
            if usable:
                findings, dialect = log_in(service, endpoint, self._timeout)
                yield from findings
                if dialect is not None and self._endpoint is None:
                    self._endpoint, self._service, self._dialect = endpoint, service, dialect
        if self._endpoint is not None:
            yield from self._permissions()

    # The permissions of the user

    def _permissions(self) -> Iterator[Finding]:
        with ExitStack() as stack:
            probes: list[Exchange] = []

            def probe(client_id: str | None = None) -> Exchange:
                made = stack.enter_context(Exchange(self._service, lambda: self._timeout, client_id))
                probes.append(made)
                return made

            caller = made_up_id()
            arrived: SimpleQueue[float] = SimpleQueue()
            heard = served = False
            if self._calls:
                yield (found := self._try_replies(probe, caller, arrived))
                heard = found.status is Status.OK
            if self._serves:
                yield (found := self._try_share(probe))
                served = found.status is Status.OK
            if self._calls:
                yield self._try_send(probe)
            if self._serves:
                yield self._try_reply(probe, f"response/{caller}", arrived if heard else None)
                if self._dialect.name != "plain":
                    yield from self._try_dead_letters(probe)
            yield from self._try_extras(probe)
            if heard and served:
                yield self._call()
            yield self._size(probes)
            yield self._forget(probes)

    def _try_replies(self, probe: MakeProbe, client_id: str, arrived: SimpleQueue[float]) -> Finding:
        topic = f"response/{client_id}"

        def deliver(delivery: Delivery) -> None:
            delivery.accept()
            arrived.put(monotonic())

        def subscribe() -> str:
            probe(client_id).subscribe(topic, ttl=REPLY_TTL, credit=10, on_delivery=deliver)
            return f"a caller may subscribe to the topic of its replies ({topic})"

        wanted = Wanted(client_id, topic, ttl=REPLY_TTL)
        return self._tried("replies", subscribe, lambda: self._may_subscribe(wanted))

    def _try_share(self, probe: MakeProbe) -> Finding:
        topic = f"{self._topic}/share"

        def subscribe() -> str:
            probe().subscribe(topic, SHARE, ttl=SHARE_TTL)
            return f"a service may subscribe to a share ({SHARE} of {topic})"

        wanted = Wanted("", topic, SHARE, ttl=SHARE_TTL)
        return self._tried("share", subscribe, lambda: self._may_subscribe(wanted))

    def _try_send(self, probe: MakeProbe) -> Finding:
        topic = f"{self._topic}/nobody"

        def send() -> str:
            told = not probe().send(topic)
            said = "a caller may send to a topic"
            return said + (", and learns that no service listens" if told else "")

        return self._tried("send", send, lambda: self._may_send(topic))

    def _try_reply(self, probe: MakeProbe, topic: str, arrived: SimpleQueue[float] | None) -> Finding:
        def reply() -> str:
            begin = monotonic()
            probe().send(topic, data="null")
            if arrived is None:
                return f"a service may send to the topic of a reply ({topic})"
            try:
                seconds = arrived.get(timeout=self._timeout) - begin
            except Empty:
                said = f"the broker accepted a reply, and did not deliver it within {self._timeout:g} s"
                raise MQLightError(said) from None
            return f"a reply reached its caller after {seconds * 1000:.1f} ms"

        return self._tried("reply", reply, lambda: self._may_send(topic))

    def _try_dead_letters(self, probe: MakeProbe) -> Iterator[Finding]:
        wanted = Wanted("", dead_letter.PATTERN, dead_letter.SHARE, ttl=dead_letter.TTL)
        topic = dead_letter.dead_topic(self._topic)

        def keep() -> str:
            probe().subscribe(dead_letter.PATTERN, dead_letter.SHARE, ttl=dead_letter.TTL, keep=True)
            return f"a service may keep dead letters ({dead_letter.SHARE} of {dead_letter.PATTERN})"

        def send() -> str:
            probe().send(topic, ttl=1)  # it expires before any subscriber sees it
            return f"a service may send dead letters ({dead_letter.dead_topic('...')})"

        yield self._tried("dead letters", keep, lambda: self._may_subscribe(wanted))
        if self._dialect.name != "artemis":  # Artemis keeps an expired message in another place
            yield self._tried("dead letters", send, lambda: self._may_send(topic))

    def _try_extras(self, probe: MakeProbe) -> Iterator[Finding]:
        """Try what a caller and a service can do without."""
        server = made_up_id()
        cancelled, stream = cancel_topic(self._topic), stream_topic(server)
        extras = (
            ("cancel", cancelled, cancelled, "a cancelled request is still run"),
            ("stream", f"{stream}/#", f"{stream}/1", "a stream ends after 32 parts"),
            ("discovery", discovery.TOPIC, discovery.TOPIC, "`macaque services` does not list this server"),
        )
        service, caller = probe(server), probe()
        for step, pattern, topic, loss in extras:
            advice, said = "", []
            try:
                if self._serves:
                    advice = self._may_subscribe(Wanted(server, pattern))
                    service.subscribe(pattern, ttl=0)
                    said.append(f"a service may subscribe to {pattern}")
                if self._calls:
                    advice = self._may_send(topic)
                    caller.send(topic, ttl=1, data=NOTICE)
                    said.append(f"a caller may send to {topic}")
                yield self._found(step, Status.OK, ", and ".join(said))
            except MQLightError as error:
                yield self._found(step, Status.WARNING, f"{words(error)}, so that {loss}", advice)

    def _call(self) -> Finding:
        def call() -> str:
            app = Server(self._service)  # type: ignore[arg-type]  # Server makes Addresses of any other value
            client = Client(self._service, timeout=self._timeout)  # type: ignore[arg-type]  # as above
            app.service(self._topic, share_id=SHARE, ttl=SHARE_TTL)(lambda data: data)
            took = []
            try:
                app.connect(self._timeout)
                client.connect(self._timeout)
                for number in range(CALLS):
                    begin = monotonic()
                    client.call(self._topic, number).result()
                    took.append((monotonic() - begin) * 1000)
            finally:
                client.close(LEAVE)
                app._forget(LEAVE)
                app.close(LEAVE)
            return f"a service answered {CALLS} calls, in {median(took):.1f} ms (median; the first in {took[0]:.1f} ms)"

        return self._tried("call", call, lambda: "correct the failed steps above, and read the broker's log")

    def _size(self, probes: list[Exchange]) -> Finding:
        size = min((limit for probe in probes if (limit := probe.connection.max_message_size)), default=0)
        if not size:
            return self._found("size", Status.OK, "the broker gives no limit for the size of a message")
        said = f"a message can have at most {size} bytes"
        if size < SMALL:
            advice = "raise the broker's limit if your requests or replies can be larger"
            return self._found("size", Status.WARNING, said, advice)
        return self._found("size", Status.OK, said)

    def _forget(self, probes: list[Exchange]) -> Finding:
        def forget() -> str:
            for probe in probes:
                probe.forget()
            return "the test topics and queues are deleted"

        advice = (
            "allow the user to delete queues, or give more time with --timeout: a cluster is slow while a node is "
            "away; otherwise the broker deletes the rest when its time to live is over"
        )
        return self._tried("forget", forget, lambda: advice)

    # The findings

    def _tried(self, step: str, attempt: Callable[[], str], advice: Callable[[], str]) -> Finding:
        try:
            return self._found(step, Status.OK, attempt())
        except (MQLightError, MacaqueError) as error:
            return self._found(step, Status.FAILED, words(error), advice())

    def _found(self, step: str, status: Status, said: str, advice: str | None = None) -> Finding:
        assert self._endpoint is not None
        return Finding(step=step, status=status, said=said, advice=advice, url=self._endpoint.url)

    def _may_subscribe(self, wanted: Wanted) -> str:
        """Return the advice on how to allow the user to subscribe."""
        if self._dialect.name == "rabbitmq":
            queue = self._dialect.source(wanted).link
            return (
                f"allow {self._user()} to configure, write and read the queue {queue}, and to read amq.topic "
                f"(rabbitmqctl set_permissions); with topic permissions, allow the key "
                f"{key_of_pattern(wanted.pattern)} of amq.topic (set_topic_permissions)"
            )
        if self._dialect.name == "mqlight":
            return f"add the line `{self._line()} subscribe {wanted.pattern}` to the server's users file"
        return f"allow {self._user()} to receive from {wanted.pattern}, and to create and delete its address and queue"

    def _may_send(self, topic: str) -> str:
        if self._dialect.name == "rabbitmq":
            return (
                f"allow {self._user()} to write to amq.topic (rabbitmqctl set_permissions); with topic permissions, "
                f"allow the key {key_of_topic(topic)} of amq.topic (set_topic_permissions)"
            )
        if self._dialect.name == "mqlight":
            return f"add a line like `{self._line()} send {topic}` to the server's users file"
        return f"allow {self._user()} to send to {topic}"

    def _line(self) -> str:
        """Return the first word of the user's lines in a users file of our server."""
        assert self._endpoint is not None
        return self._endpoint.user or ("USER" if self._service.shows_certificate else "anonymous")

    def _user(self) -> str:
        assert self._endpoint is not None
        return self._endpoint.user or "the user"
