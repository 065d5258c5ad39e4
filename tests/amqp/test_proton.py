"""Our engine against Proton's, in memory: whichever two of them are joined, both ends hear the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import proton
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqp.pair import pump, transfer
from mqlight.amqp import Condition, Engine, Link, Outcome, Peer, Terminus
from mqlight.server.sasl import SaslServer

STATES = {
    Outcome.ACCEPTED: proton.Delivery.ACCEPTED,
    Outcome.REJECTED: proton.Delivery.REJECTED,
    Outcome.RELEASED: proton.Delivery.RELEASED,
    Outcome.MODIFIED: proton.Delivery.MODIFIED,
    Outcome.UNDELIVERABLE: proton.Delivery.MODIFIED,
}
MODES = (None, False, True)
"""The settle modes of a sender: mixed, unsettled, settled (section 2.8.2)."""
REASON = "amqp:not-allowed"


class Ours:
    """One end by our engine. ``heard`` is what both kinds of ends write down."""

    def __init__(self, server: bool, frame: int) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.links: dict[str, Link] = {}
        self.arrived: list[tuple[Link, int]] = []
        self.marked: set[int] = set()
        self.server = server
        self.engine = Engine(self, server=server, container_id="me", hostname="host", max_frame_size=frame)
        self.sasl = SaslServer(lambda identity: True)
        self.early = b""
        if not server:
            self.engine.open()

    # The wire

    def receive(self, data: bytes) -> None:
        if self.server and not self.sasl.finished:
            self.early += self.sasl.receive(data)
            data = self.sasl.rest
        self.engine.receive(data)

    def output(self) -> bytes:
        return self.early or self.engine.output()

    def sent(self, size: int) -> None:
        if self.early:
            self.early = self.early[size:]
        else:
            self.engine.sent(size)

    # What is asked of it

    def attach(self, name: str, sends: bool, address: str, mode: bool | None) -> None:
        if sends:
            self.links[name] = self.engine.attach_sender(name, Terminus(address), at_most_once=mode)
        else:
            self.links[name] = self.engine.attach_receiver(name, Terminus(address), at_most_once=bool(mode))

    def send(self, name: str, data: bytes, settled: bool) -> None:
        if self.links[name].credit:
            self.links[name].send(data, data, settled)

    def begin_to_send(self, name: str, data: bytes) -> bool:
        link = self.links[name]
        if link.credit and not link.queue:
            number: int | None = link.session.delivery
            for at in range(0, len(data) + 1, 400):  # the smallest of frames takes as much
                transfer(link, data[at : at + 400], number, more=True)
                number = None
            return True
        return False

    def abort(self, name: str) -> None:
        transfer(self.links[name], b"", None, aborted=True)

    def flow(self, name: str, credit: int) -> None:
        self.links[name].flow(credit)

    def drain(self, name: str) -> None:
        self.links[name].stop_flow()

    def begin(self, number: int) -> None:
        link, handle = self.arrived[number % len(self.arrived)]
        if handle not in self.marked:
            self.marked.add(handle)
            link.mark_received(handle)

    def settle(self, number: int, outcome: Outcome) -> None:
        link, handle = self.arrived.pop(number % len(self.arrived))
        condition = Condition(REASON, "no") if outcome is Outcome.REJECTED else None
        link.settle(handle, outcome, condition)

    def detach(self, name: str, closed: bool) -> None:
        # Proton leaves the reason out of a detach that does not close.
        self.links.pop(name).detach(closed, Condition(REASON, "enough") if closed else None)

    def close(self) -> None:
        self.engine.close(Condition(REASON, "the end"))

    # What it hears

    def on_open(self, peer: Peer) -> None:
        self.heard.append(("open", peer.container_id))
        self.engine.open()

    def on_attach(self, link: Link) -> None:
        self.heard.append(("attach", link.name, link.receiver, link.source.address, link.target.address))
        if not link.local:
            mode = 2 if link.snd_mode < 0 else link.snd_mode  # null is mixed (section 2.7.3)
            self.heard.append(("mode", link.name, mode, link.peer_max_message_size))
            self.links[link.name] = link
            link.accept()

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        self.heard.append(("detach", link.name, closed, condition and tuple(condition)))
        self.links.pop(link.name, None)
        self.arrived = [(other, handle) for other, handle in self.arrived if other is not link]

    def on_credit(self, link: Link) -> None:
        link.drain_answered()

    def on_message(self, link: Link, handle: int, data: bytes, settled: bool) -> None:
        self.heard.append(("message", link.name, data, settled))
        if not settled:
            self.arrived.append((link, handle))

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        for token in tokens:
            self.heard.append(("outcome", link.name, token, outcome.name, condition and tuple(condition)))

    def on_received(self, link: Link, token: Any) -> None:
        self.heard.append(("received", link.name, token))

    def on_close(self, condition: Condition | None) -> None:
        self.heard.append(("close", condition and tuple(condition)))


def told(condition: Any) -> tuple[str, str] | None:
    return None if condition is None else (str(condition.name), condition.description or "")


class Protons:
    """The same by Proton's engine."""

    def __init__(self, server: bool, frame: int) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.links: dict[str, Any] = {}
        self.arrived: list[tuple[Any, Any]] = []
        self.marked: set[str] = set()
        self.begun: dict[str, Any] = {}
        self.sent_count = 0
        self.server = server
        self.connection, self.collector = proton.Connection(), proton.Collector()
        self.connection.collect(self.collector)
        self.connection.container = "me"
        self.connection.hostname = "host"
        self.transport = proton.Transport(proton.Transport.SERVER) if server else proton.Transport()
        self.transport.max_frame_size = frame
        sasl = self.transport.sasl()
        sasl.allowed_mechs("ANONYMOUS")
        self.transport.bind(self.connection)
        self.session: Any = None
        if not server:
            self.connection.open()

    def receive(self, data: bytes) -> None:
        while data:
            taken = self.transport.capacity()
            if taken <= 0:
                return
            self.transport.push(data[:taken])
            data = data[taken:]
            self.dispatch()

    def output(self) -> bytes:
        size = self.transport.pending()
        return bytes(self.transport.peek(size) or b"") if size > 0 else b""

    def sent(self, size: int) -> None:
        self.transport.pop(size)
        self.dispatch()

    def attach(self, name: str, sends: bool, address: str, mode: bool | None) -> None:
        if self.session is None:
            self.session = self.connection.session()
            self.session.open()
        link = self.session.sender(name) if sends else self.session.receiver(name)
        link.source.address = name if sends else address
        link.target.address = address
        link.snd_settle_mode = 2 if mode is None and sends else int(bool(mode))
        if not sends:
            link.rcv_settle_mode = link.RCV_SECOND  # ours settles first: its peer must not notice
        self.links[name] = link
        link.open()

    def send(self, name: str, data: bytes, settled: bool) -> None:
        link = self.links[name]
        if link.credit:
            self.sent_count += 1
            delivery = link.delivery(str(self.sent_count))
            delivery.context = data
            link.send(data)
            link.advance()
            if settled:
                delivery.settle()

    def begin_to_send(self, name: str, data: bytes) -> bool:
        link = self.links[name]
        if link.credit and not link.queued:
            self.sent_count += 1
            self.begun[name] = link.delivery(str(self.sent_count))
            link.send(data)
            return True
        return False

    def abort(self, name: str) -> None:
        self.begun.pop(name).abort()

    def flow(self, name: str, credit: int) -> None:
        link = self.links[name]
        if link.drain_mode:
            link.drain_mode = False
        link.flow(credit)

    def drain(self, name: str) -> None:
        self.links[name].drain(0)

    def begin(self, number: int) -> None:
        _, delivery = self.arrived[number % len(self.arrived)]
        if delivery.tag not in self.marked:
            self.marked.add(delivery.tag)
            delivery.update(proton.Delivery.RECEIVED)

    def settle(self, number: int, outcome: Outcome) -> None:
        link, delivery = self.arrived.pop(number % len(self.arrived))
        if outcome is Outcome.REJECTED:
            delivery.local.condition = proton.Condition(REASON, "no")
        if outcome is Outcome.MODIFIED or outcome is Outcome.UNDELIVERABLE:
            delivery.local.failed = True
            delivery.local.undeliverable = outcome is Outcome.UNDELIVERABLE
        delivery.update(STATES[outcome])
        if link.rcv_settle_mode != link.RCV_SECOND:
            delivery.settle()

    def detach(self, name: str, closed: bool) -> None:
        link = self.links.pop(name)
        link.condition = proton.Condition(REASON, "enough")
        if closed:
            link.close()
        else:
            link.detach()

    def close(self) -> None:
        self.connection.condition = proton.Condition(REASON, "the end")
        self.connection.close()

    def dispatch(self) -> None:
        while event := self.collector.peek():
            handler: Callable[[Any], None] | None = getattr(self, f"on_{event.type.name.lower()[3:]}", None)
            if handler is not None:
                handler(event)
            self.collector.pop()

    def on_connection_remote_open(self, event: Any) -> None:
        self.heard.append(("open", self.connection.remote_container))
        self.connection.open()

    def on_connection_remote_close(self, event: Any) -> None:
        self.heard.append(("close", told(self.connection.remote_condition)))
        self.connection.close()

    def on_session_remote_open(self, event: Any) -> None:
        event.session.open()

    def on_link_remote_open(self, event: Any) -> None:
        link = event.link
        self.heard.append(
            ("attach", link.name, link.is_receiver, link.remote_source.address, link.remote_target.address)
        )
        if link.state & link.LOCAL_UNINIT:
            self.heard.append(("mode", link.name, link.remote_snd_settle_mode, link.remote_max_message_size))
            self.links[link.name] = link
            link.source.copy(link.remote_source)
            link.target.copy(link.remote_target)
            link.open()

    def _gone(self, event: Any, closed: bool) -> None:
        link = event.link
        self.heard.append(("detach", link.name, closed, told(link.remote_condition)))
        self.links.pop(link.name, None)
        for other, delivery in self.arrived:
            if other == link:
                delivery.update(proton.Delivery.RELEASED)
                delivery.settle()
        self.arrived = [(other, delivery) for other, delivery in self.arrived if other != link]
        if closed:
            link.close()
        else:
            link.detach()
        link.free()

    def on_link_remote_close(self, event: Any) -> None:
        self._gone(event, True)

    def on_link_remote_detach(self, event: Any) -> None:
        self._gone(event, False)

    def on_link_flow(self, event: Any) -> None:
        link = event.link
        if link.is_sender and link.drain_mode:
            link.drained()

    def on_delivery(self, event: Any) -> None:
        link, delivery = event.link, event.delivery
        if link.is_receiver:
            self._arrived(link, delivery)
        elif delivery.updated:
            self._answered(link, delivery)

    def _arrived(self, link: Any, delivery: Any) -> None:
        if delivery.aborted:
            delivery.settle()
            if not link.drain_mode:
                link.flow(1)
        elif delivery.readable and not delivery.partial:
            data = bytes(link.recv(delivery.pending) or b"")
            link.advance()
            settled = delivery.settled
            self.heard.append(("message", link.name, data, settled))
            if settled:
                delivery.settle()
            else:
                self.arrived.append((link, delivery))
        elif delivery.settled and delivery.local_state:
            delivery.settle()  # second

    def _answered(self, link: Any, delivery: Any) -> None:
        state, remote = delivery.remote_state, delivery.remote
        if state == proton.Delivery.RECEIVED:
            self.heard.append(("received", link.name, delivery.context))
            delivery.update(0)
            return
        name = "RELEASED" if state == proton.Delivery.RELEASED else "ACCEPTED"
        condition = None
        if state == proton.Delivery.REJECTED:
            name, condition = "REJECTED", told(remote.condition)
        elif state == proton.Delivery.MODIFIED:
            name = "UNDELIVERABLE" if remote.undeliverable else "MODIFIED" if remote.failed else "RELEASED"
        self.heard.append(("outcome", link.name, delivery.context, name, condition))
        delivery.settle()


ENDS = {"ours": Ours, "proton's": Protons}
NAMES = ("a", "b", "c")
SENDING = {"a": True, "b": False, "c": True}
STEPS = st.one_of(
    st.tuples(st.just("attach"), st.sampled_from(NAMES), st.sampled_from(MODES)),
    st.tuples(st.just("send"), st.sampled_from(NAMES), st.sampled_from([0, 1, 200, 5000, 70_000]), st.booleans()),
    st.tuples(st.just("abort"), st.sampled_from(NAMES), st.sampled_from([0, 1, 2000])),
    st.tuples(st.just("begin"), st.integers(0, 50)),
    st.tuples(st.just("settle all"), st.sampled_from(sorted(STATES))),
    st.tuples(st.just("flow"), st.sampled_from(NAMES), st.integers(1, 20)),
    st.tuples(st.just("drain"), st.sampled_from(NAMES)),
    st.tuples(st.just("settle"), st.integers(0, 50), st.sampled_from(sorted(STATES))),
    st.tuples(st.just("detach"), st.sampled_from(NAMES), st.booleans(), st.booleans()),
    st.tuples(st.just("pump")),
)


def heard(client_kind: str, server_kind: str, frame: int, steps: list[Any], last: bool) -> tuple[list[Any], list[Any]]:
    """Return the events that both ends hear of ``steps``; ``last``: the client ends the connection, not the server."""
    client, server = ENDS[client_kind](False, frame), ENDS[server_kind](True, frame)
    pump(client, server)
    count = 0
    for kind, *arguments in steps:
        name = str(arguments[0]) if arguments else ""
        sender, receiver = (client, server) if SENDING.get(name) else (server, client)
        if kind == "attach" and name not in client.links and name not in server.links:
            client.attach(name, SENDING[name], f"to-{name}", arguments[1])
        elif kind == "settle":
            for end in (client, server):
                if end.arrived:
                    end.settle(*arguments)
        elif kind == "settle all":
            for end in (client, server):
                while end.arrived:
                    end.settle(0, arguments[0])
        elif kind == "begin":
            for end in (client, server):
                if end.arrived:
                    end.begin(*arguments)
        elif name in client.links and name in server.links:
            if kind == "send":
                count += 1
                sender.send(name, (b"%d " % count).ljust(arguments[1], b"."), arguments[2])
            elif kind == "abort" and sender.begin_to_send(name, bytes(arguments[1])):
                pump(client, server)
                sender.abort(name)
            elif kind == "flow":
                receiver.flow(name, arguments[1])
            elif kind == "drain":
                receiver.drain(name)
            elif kind == "detach":
                (client if arguments[2] else server).detach(name, arguments[1])
        pump(client, server)
        for end in (client, server):
            # Proton tells of credit more often than flows come: what it comes to is compared.
            end.heard += [("credit", each, max(0, link.credit)) for each, link in sorted(end.links.items())]
    (client if last else server).close()
    pump(client, server)
    return client.heard, server.heard


@given(st.sampled_from([512, 65536]), st.lists(STEPS, max_size=25), st.booleans())
@settings(max_examples=60, deadline=None)
def test_two_ends_hear_the_same_whoever_made_their_engines(frame: int, steps: list[Any], last: bool) -> None:
    expected = heard("proton's", "proton's", frame, steps, last)
    assert heard("ours", "proton's", frame, steps, last) == expected
    assert heard("proton's", "ours", frame, steps, last) == expected
    assert heard("ours", "ours", frame, steps, last) == expected


@pytest.mark.parametrize("client", ENDS)
@pytest.mark.parametrize("server", ENDS)
def test_nearly_everything_happens_between_any_two_engines(client: str, server: str) -> None:
    steps: list[Any] = [("attach", "a", None), ("attach", "b", False), ("flow", "a", 6), ("flow", "b", 6)]
    steps += [("abort", "a", 2000), ("abort", "b", 1)]
    steps += [("send", name, size, size == 1) for name in "ab" for size in (0, 1, 200, 5000, 70_000)]
    steps += [("begin", 1), ("begin", 0), ("settle", 2, Outcome.REJECTED), ("settle", 1, Outcome.UNDELIVERABLE)]
    steps += [("settle all", Outcome.ACCEPTED)]
    steps += [("drain", "a"), ("drain", "b"), ("detach", "a", True, True), ("detach", "b", False, False)]
    steps += [("attach", "c", True), ("flow", "c", 3), ("send", "c", 5, True), ("detach", "c", True, False)]
    both = heard(client, server, 512, steps, True)
    kinds = [Counter(event[0] for event in each) for each in both]
    assert [kind["message"] for kind in kinds] == [5, 6] and [kind["outcome"] for kind in kinds] == [4, 4]
    assert [kind["received"] for kind in kinds] == [2, 2] and [kind["attach"] for kind in kinds] == [3, 3]
    outcomes = {event[3] for each in both for event in each if event[0] == "outcome"}
    assert outcomes == {"ACCEPTED", "REJECTED", "UNDELIVERABLE"}
    assert both == heard("proton's", "proton's", 512, steps, True)
