"""Qpid JMS finds what JMS promises: durable subscriptions, temporary queues and topics."""

from __future__ import annotations

import foreign
from processes import Server, Spawn


def test_jms_finds_its_durable_subscriptions_and_temporary_destinations(server: Server, spawn: Spawn) -> None:
    foreign.java_backend()  # its libraries are Qpid JMS's
    libraries = str(foreign.JAVA_BACKEND / "target/lib/*")
    program = str(foreign.INTEROP / "Promises.java")
    process = spawn(command=["java", "-cp", libraries, program, str(server.port)])
    assert process.wait(60.0) == 0, process.log()
    assert process.log().splitlines() == [
        "nothing", "while you were away", "no such subscription", "true", "answer", "answer",
    ]  # fmt: skip
