"""The processor time of a call in one process: caller, server and worker joined in memory, without sockets or threads.

    python benchmarks/call_in_memory.py [REPEATS]

The script prints the smallest of several measurements, which is steadier than a rate while other programs share the
machine. Use it for profiling. Each call is a request and its reply, at least once, in macaque's envelope, through the
broker of the development server. Every reply is checked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from macaque.envelope import decode_reply, decode_request, encode_reply, encode_request
from mqlight.amqp.engine import READ, Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.outgoing import Outgoing
from mqlight.protocol import ClientProtocol
from mqlight.server.broker import Broker
from mqlight.server.limits import Limits
from mqlight.server.permissions import EVERYTHING, User
from mqlight.server.protocol import ServerProtocol
from mqlight.subscription import Subscription

CALLS = 5000
IN_FLIGHT = 100
TOPIC, REPLIES = "bench/upper", "response/caller"


class Client:
    """A client's session, and the server's end of its connection."""

    def __init__(self, broker: Broker, client_id: str) -> None:
        self.protocol = ClientProtocol(on_state=lambda connected, error: None, on_room=lambda: None)
        self.engine = Engine(self.protocol, server=False, container_id=client_id)
        self.served = ServerProtocol(
            broker,
            address=client_id,
            check=lambda identity: User(None, EVERYTHING),
            dirty=lambda connection: None,
            named=lambda connection: None,
            heartbeat=30.0,
            limits=Limits(),
            properties={},
        )
        self.protocol.begin(self.engine)

    def pump(self) -> bool:
        """Move the waiting bytes, in pieces as from a socket. Return whether there were any."""
        now = time.monotonic()
        moved = False
        while data := self.engine.output():
            self.engine.sent(len(data))
            moved = True
            for at in range(0, len(data), READ):
                self.served.receive(data[at : at + READ], now)
        while data := self.served.output():
            self.served.sent(len(data))
            moved = True
            for at in range(0, len(data), READ):
                self.engine.receive(data[at : at + READ])
        return moved


class Calls:
    """A caller and a worker, and the calls between them."""

    def __init__(self) -> None:
        broker = Broker()
        self.caller, self.worker = Client(broker, "caller"), Client(broker, "worker")
        self.asked = self.done = self.wanted = 0
        self.replies = self._subscribe(self.caller, REPLIES, None, 1024, self._answered)
        self.requests = self._subscribe(self.worker, TOPIC, "workers", 256, self._work)
        self._pump()

    def _subscribe(
        self,
        client: Client,
        pattern: str,
        share: str | None,
        credit: int,
        on_message: Callable[[Link, Handle, bytes, bool], None],
    ) -> Subscription:
        subscription = Subscription(
            pattern, share, qos=1, ttl=60, credit=credit, on_message=on_message, on_subscribed=None
        )
        client.protocol.subscriptions.subscribe(subscription)
        return subscription

    def _pump(self) -> None:
        while self.caller.pump() | self.worker.pump():
            pass

    def _call(self) -> None:
        self.asked += 1
        uuid = f"0123456789abcdef01234567{self.asked:012x}"
        message = encode_request(uuid, TOPIC, {"word": "alive"}, REPLIES, now=time.time(), timeout=30)
        self.caller.protocol.senders.send(Outgoing(TOPIC, message, False, True, None))

    def _work(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        request = decode_request(data)
        reply = encode_reply(request, {"word": request.data["word"].upper()})

        def told(outcome: Outcome, condition: Condition | None) -> None:
            self.requests.settle(link, handle, Outcome.ACCEPTED, None)

        self.worker.protocol.senders.send(Outgoing(request.reply_to or "", reply, False, True, told))

    def _answered(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        assert decode_reply(data).data == {"word": "ALIVE"}
        self.replies.settle(link, handle, Outcome.ACCEPTED, None)
        self.done += 1
        if self.asked < self.wanted:
            self._call()

    def run(self, count: int) -> float:
        """Make `count` calls. Return the seconds of processor time that they took."""
        began = time.process_time()
        self.wanted = self.asked + count
        for _ in range(IN_FLIGHT):
            self._call()
        while self.done < self.wanted:
            self._pump()
        return time.process_time() - began


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    calls = Calls()
    calls.run(CALLS)
    best = min(calls.run(CALLS) for _ in range(repeats))
    print(f"{1e6 * best / CALLS:.1f} µs of processor time a call")


if __name__ == "__main__":
    main()
