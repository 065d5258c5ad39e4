"""A fault of the server in one connection, and what becomes of the others."""

from __future__ import annotations

import pytest

import mqlight
from processes import Process, Spawn, wait_until

PROGRAM = """
import logging, socket, gevent
from mqlight.server.listener import Listener

class Broken:
    # It stands before the real one, whose class may be compiled, and has no subclass then.

    def __init__(self, protocol):
        vars(self)["protocol"] = protocol

    def __getattr__(self, name):
        return getattr(self.protocol, name)

    def __setattr__(self, name, value):
        setattr(self.protocol, name, value)

    def tick(self, now):
        self.fail("tick")
        return self.protocol.tick(now)

    def output(self):
        self.fail("output")
        return self.protocol.output()

    def end_of_input(self, now):
        self.protocol.end_of_input(now)
        self.fail("end")

    def fail(self, where):
        if self.protocol.client.client_id == f"bad.{where}":
            raise RuntimeError(f"a fault at {where}")

class BrokenListener(Listener):
    def serve(self, client_socket, address):
        return Broken(super().serve(client_socket, address))

logging.basicConfig()
sock = socket.create_server(("127.0.0.1", 0))
port = sock.getsockname()[1]
listener = BrokenListener(sock)
listener.start()
print(f"ready at amqp://127.0.0.1:{port}", flush=True)
gevent.sleep(100)
"""


@pytest.fixture
def broken(spawn: Spawn) -> Process:
    """A server that fails at a tick, at output or at the end of clients that are called so."""
    return spawn(["-c", PROGRAM])


@pytest.mark.parametrize("where", ["tick", "output", "end"])
def test_a_fault_in_one_connection_ends_it_and_no_other(broken: Process, where: str) -> None:
    url = broken.expect(r"ready at (amqp://\S+)")[1]
    bad = mqlight.Client(url, f"bad.{where}")
    bodies: list[str] = []
    good = mqlight.Client(url, "good")
    try:
        good.subscribe("t", on_message=lambda kind, body, delivery: bodies.append(body))
        if where == "end":
            wait_until(lambda: bad.state == "started")
            bad.stop()
        broken.expect(f"RuntimeError: a fault at {where}")
        if where == "tick":  # it comes back by itself, and the next look is made as well
            broken.expect(r"(?s)a fault at tick.*a fault at tick")
        good.send("t", "hello")
        wait_until(lambda: bodies == ["hello"])
    finally:
        for client in (bad, good):
            client.stop()
