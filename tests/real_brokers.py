"""The brokers that the contract is tested on: the embedded server, and whichever real ones the environment names.

`MACAQUE_TEST_RABBITMQ` and `MACAQUE_TEST_ARTEMIS` hold the URL that scripts/rabbitmq and scripts/artemis print. A real
broker keeps its state from test to test, so every test has topics of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest

from processes import ROOT, Server, start_server

NAMES = ("embedded", "ibm-mq", "rabbitmq", "artemis")
SCRIPT_TIMEOUT = 200


def script(name: str, *args: str) -> str:
    """Return the output of `scripts/NAME args`. Raises AssertionError with its complaint if it fails."""
    command = [sys.executable, str(ROOT / "scripts" / name), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SCRIPT_TIMEOUT, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()


class Broker:
    """One broker. What it cannot do is said by its attributes, and in docs/brokers.md."""

    name: str
    url: str
    tells_no_responders = True
    takes_over = True
    forgets_by_itself = True
    """A destination without subscribers is gone after its time to live."""
    lateness = 2.5
    """Seconds after which that is noticed."""
    counts_vanished = True
    """A message counts as delivered in vain when its receiver vanished."""
    limits_deliveries = False
    """It can be told how often to give a message out."""
    keeps = True
    """Whether accepted messages survive a crash."""

    def remember(self) -> None:
        """Wait until it has on disk what was declared."""

    def kill(self) -> None:
        """End it as a crash would."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it again after :meth:`kill`, on the same port."""
        raise NotImplementedError

    def close(self) -> None:
        """The tests are done with it."""


class Embedded(Broker):
    """`python -m mqlight.server`, a fresh one."""

    name = "embedded"
    keeps = False

    options: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._server: Server = start_server(*self.options)
        self.url = self._server.url

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.close()
        self._server = start_server(*self.options, port=self._server.port)

    def close(self) -> None:
        self._server.close()


class LikeIbmMq(Embedded):
    """The same with the limits of IBM MQ."""

    name = "ibm-mq"
    options = ("--like-ibm-mq",)
    tells_no_responders = False


class Scripted(Broker):
    """A broker that a script started, and the environment names."""

    variable: str
    node: tuple[str, ...] = ()

    def __init__(self) -> None:
        url = os.environ.get(self.variable)
        if not url:
            pytest.skip(f"{self.variable} names no broker: export {self.variable}=$(scripts/{self.name} start)")
        self.url = url
        self._port = f"--port={urlsplit(url).port}"

    def kill(self) -> None:
        script(self.name, "kill", *self.node, self._port)

    def start(self) -> None:
        script(self.name, "start", *self.node, self._port)


class RabbitMq(Scripted):
    name = "rabbitmq"
    variable = "MACAQUE_TEST_RABBITMQ"
    takes_over = False
    lateness = 11.0  # quorum queues look every five seconds
    limits_deliveries = True
    node = ("1",)

    def remember(self) -> None:
        # A quorum queue that is declared half a second before kill -9 comes back without a leader, for good
        # (docs/brokers.md); nothing tells when it is safe.
        threading.Event().wait(2.0)


class Artemis(Scripted):
    name = "artemis"
    variable = "MACAQUE_TEST_ARTEMIS"
    tells_no_responders = False
    takes_over = False
    forgets_by_itself = False
    counts_vanished = False


KINDS: dict[str, type[Broker]] = {kind.name: kind for kind in (Embedded, LikeIbmMq, RabbitMq, Artemis)}
