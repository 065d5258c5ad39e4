"""Two engines and the wire between them, all in memory: what the one sends, the other receives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mqlight.amqp import Condition, Engine, Handle, Link, Outcome, Peer, Terminus
from mqlight.amqp.frames import DISPOSITION, TRANSFER, frame, performative
from mqlight.amqp.values import Uint
from mqlight.server.sasl import SaslServer

ROUNDS = 10_000


class End:
    """One end: an engine and what its handler heard, in order, as tuples that begin with the method's name.

    It answers as a willing peer: opens when opened, accepts every link, grants ``credit`` to senders. A test that wants
    something else sets ``answer``.
    """

    def __init__(self, *, server: bool, container_id: str = "", credit: int = 100, **options: Any) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.credit = credit
        self.answer: Callable[[Link], None] = self.accept
        self.server = server
        self.engine = Engine(self, server=server, container_id=container_id or ("s" if server else "c"), **options)
        self.sasl = SaslServer(lambda identity: True)
        self._early = b""

    def receive(self, data: bytes) -> None:
        """Take bytes from the other end; a server has its SASL first."""
        if not self.server or self.sasl.finished:
            self.engine.receive(data)
        else:
            self._early += self.sasl.receive(data)
            self.engine.receive(self.sasl.rest)

    def output(self) -> bytes:
        return self._early or self.engine.output()

    def sent(self, size: int) -> None:
        if self._early:
            self._early = self._early[size:]
        else:
            self.engine.sent(size)

    def accept(self, link: Link) -> None:
        link.accept()
        if link.receiver:
            link.flow(self.credit)

    def all(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of ``on_<name>``."""
        return [arguments for called, *arguments in map(list, self.heard) if called == name]

    def one(self, name: str) -> Any:
        """The arguments of the only call of ``on_<name>``."""
        (found,) = self.all(name)
        return found

    @property
    def messages(self) -> list[bytes]:
        return [data for _, _, data, _ in self.all("message")]

    @property
    def outcomes(self) -> list[tuple[Any, Outcome]]:
        return [(token, outcome) for _, token, outcome, _ in self.all("outcome")]

    def on_open(self, peer: Peer) -> None:
        self.heard.append(("open", peer))
        if self.server:
            self.engine.open()

    def on_attach(self, link: Link) -> None:
        self.heard.append(("attach", link))
        if not link.local:
            self.answer(link)

    def on_detach(self, link: Link, closed: bool, condition: Condition | None) -> None:
        self.heard.append(("detach", link, closed, condition, list(link.unsettled.values())))

    def on_credit(self, link: Link) -> None:
        self.heard.append(("credit", link, link.credit))

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        self.heard.append(("message", link, handle, data, settled))

    def on_outcomes(self, link: Link, tokens: list[Any], outcome: Outcome, condition: Condition | None) -> None:
        self.heard += [("outcome", link, token, outcome, condition) for token in tokens]

    def on_received(self, link: Link, token: Any) -> None:
        self.heard.append(("received", link, token))

    def on_close(self, condition: Condition | None) -> None:
        self.heard.append(("close", condition))


def transfer(link: Link, payload: bytes, number: int | None, *, more: bool = False, aborted: bool = False) -> None:
    """Write one transfer frame of a delivery that :meth:`Link.send` would have completed at once."""
    session = link.session
    if number is not None:
        session.delivery = max(session.delivery, number + 1)
        link.count += 1
    session.next_out += 1
    tag = None if number is None else b"tag"
    known = None if number is None else Uint(number)
    fields = [Uint(link.handle), known, tag, None, None, more, None, None, None, aborted or None]
    session.write(frame(session.channel, performative(TRANSFER, fields) + payload))


def disposition(link: Link, number: int, settled: bool, state: Any) -> None:
    """Write a disposition of a receiver in any state."""
    fields = [True, Uint(number), None, settled, state]
    link.session.write(frame(link.session.channel, performative(DISPOSITION, fields)))


class Pair:
    """A client and a server, opened."""

    def __init__(self, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> None:
        self.client = End(server=False, **(client or {}))
        self.server = End(server=True, **(server or {}))
        self.client.engine.open()
        self.pump()

    def pump(self) -> None:
        pump(self.client, self.server)

    def sender(self, topic: str | None = "t", **options: Any) -> tuple[Link, Link]:
        """A link that the client sends on: both its ends."""
        link = self.client.engine.attach_sender(f"to-{topic}", Terminus(topic), **options)
        self.pump()
        return link, self.server.all("attach")[-1][0]

    def receiver(self, address: str = "private:t", *, credit: int = 100, at_most_once: bool = False) -> Any:
        """A link that the client receives on: both its ends."""
        link = self.client.engine.attach_receiver(address, Terminus(address), at_most_once=at_most_once)
        link.flow(credit)
        self.pump()
        return link, self.server.all("attach")[-1][0]


def pump(one: Any, other: Any) -> int:
    """Move bytes both ways until neither has any left; returns how many. Both have output, sent and receive."""
    moved = 0
    for _ in range(ROUNDS):
        before = moved
        for giver, taker in ((one, other), (other, one)):
            while data := giver.output():
                giver.sent(len(data))
                taker.receive(data)
                moved += len(data)
        if moved == before:
            return moved
    raise AssertionError(f"the two ends never fall silent: {moved} bytes so far")
