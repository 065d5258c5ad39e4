"""Parts that the tests of limits share: hostile clients on plain sockets, a client that must be served meanwhile, and
the memory of a process.
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mqlight.amqp.codec import Described, Uint, Ulong, encode
from mqlight.amqp.frames import AMQP_HEADER, SASL_HEADER
from processes import ROOT, Process, Server, wait_until

MIB = 1024 * 1024
ANONYMOUS = bytes.fromhex("0000001902010000005341c00c01a309414e4f4e594d4f5553")
OPEN, BEGIN, ATTACH, TRANSFER, DETACH = 0x10, 0x11, 0x12, 0x14, 0x16
DEADLINE = 5.0
"""Seconds that each call of the pulse has: so few that a server which is busy with others would not make it."""

_PULSE = f"""
import signal, sys, threading, time
import macaque
url = sys.argv[1]
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
service = macaque.Server(url)
service.service("pulse")(lambda request: request)
service.connect()
with macaque.Client(url, timeout={DEADLINE}) as client:
    client.call("pulse", 0).result()
    print("alive", flush=True)
    count = failed = slowest = 0
    while not stop.wait(0.02):
        began = time.monotonic()
        try:
            client.call("pulse", count).result()
        except macaque.MacaqueError as error:
            failed += 1
            print("failed:", error)
        count += 1
        if count == 10:
            print("ten calls", flush=True)
        slowest = max(slowest, time.monotonic() - began)
service.close()
print(f"{{count}} calls, {{failed}} failed, slowest {{slowest * 1000:.0f}} ms")
"""


class Pulse:
    """A process that calls a service of its own every 20 ms."""

    def __init__(self, server: Server) -> None:
        self.process = Process([sys.executable, "-c", _PULSE, server.url], cwd=ROOT)
        self.process.expect("alive")

    def end(self) -> int:
        """Return the number of calls. Raises AssertionError if one was not answered in time."""
        self.process.expect("ten calls")
        self.process.signal(signal.SIGTERM)
        assert self.process.wait(15) == 0, self.process.log()
        count, failed = map(int, self.process.expect(r"(\d+) calls, (\d+) failed").groups())
        assert failed == 0, self.process.log()
        return count


def memory(process: Process) -> int:
    """Bytes of RAM that a process has now."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096


def frame(performative: int, *fields: Any, channel: int = 0, payload: bytes = b"") -> bytes:
    body = encode(Described(Ulong(performative), list(fields))) + payload
    return struct.pack(">IBBH", 8 + len(body), 2, 0, channel) + body


class Hostile:
    """A client that keeps to the format and to no other rule. Its socket never waits for long."""

    def __init__(self, server: Server, name: str = "hostile", address: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(("127.0.0.1", server.port), 10, (address, 0))
        self.got = b""
        self.name = name

    def __enter__(self) -> Hostile:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def log_in(self) -> Hostile:
        self.send(SASL_HEADER + ANONYMOUS + AMQP_HEADER + frame(OPEN, self.name))
        wait_until(lambda: self.hears(b"product"))
        return self

    def begin(self) -> Hostile:
        self.send(frame(BEGIN, None, Uint(0), Uint(2**31 - 1), Uint(2**31 - 1)))
        return self

    def send(self, data: bytes) -> bool:
        """Send it all; False when the server takes no more within a second, or is gone."""
        self.sock.settimeout(1.0)
        try:
            self.sock.sendall(data)
        except OSError:
            return False
        return True

    def hears(self, words: bytes) -> bool:
        """Whether the server has said this by now."""
        self.read()
        return words in self.got

    def read(self) -> bool:
        """Take what is there; False at the end."""
        self.sock.settimeout(0)
        try:
            while True:
                data = self.sock.recv(65536)
                if not data:
                    return False
                self.got += data
        except BlockingIOError:
            return True
        except OSError:
            return False


def sender(name: str, handle: int, topic: str) -> bytes:
    """An attach frame of a link to send on."""
    source, target = Described(Ulong(0x28), [name]), Described(Ulong(0x29), [topic])
    return frame(ATTACH, name, Uint(handle), False, None, None, source, target, None, None, Uint(0))


def until(condition: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    wait_until(condition, timeout, what)
