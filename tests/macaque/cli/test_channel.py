from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from macaque.cli.channel import ask_to_leave, heard, say
from macaque.observe.info import ServiceInfo
from processes import ROOT

WORKER = """
import sys, threading
from macaque.cli.channel import leave_with_parent
leaving = threading.Event()
def leave():
    leaving.set()
    return True
leave_with_parent(int(sys.argv[1]), leave)
print("up", flush=True)
leaving.wait(20)
print("left", flush=True)
"""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


SERVICES = [ServiceInfo(topic="greet", request={"type": "string"}), ServiceInfo(topic="鱼", streams=True)]


def test_the_services_of_a_worker_are_heard_whole(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    say(theirs.fileno(), SERVICES)
    assert heard(ours) == SERVICES


@pytest.mark.parametrize("bytes_", [b"", b'["cut', b"{}\n"])
def test_a_worker_that_ends_without_a_whole_message_has_said_nothing(
    ends: tuple[socket.socket, socket.socket], bytes_: bytes
) -> None:
    ours, theirs = ends
    theirs.sendall(bytes_)
    theirs.close()
    assert heard(ours) is None


def test_a_message_to_a_supervisor_that_has_ended_is_dropped(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    ours.close()
    say(theirs.fileno(), SERVICES)


def test_a_worker_that_has_ended_may_be_asked_to_leave(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.close()
    ask_to_leave(ours)
    ask_to_leave(ours)


@pytest.mark.parametrize("how", ["asked", "closed", "reset"])
def test_a_worker_leaves_at_the_end_of_its_channel(ends: tuple[socket.socket, socket.socket], how: str) -> None:
    ours, theirs = ends
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        if how == "asked":
            ask_to_leave(ours)
        else:
            if how == "reset":  # a message that the supervisor has not read
                theirs.sendall(b"unread\n")
            ours.close()
        theirs.close()
        assert process.stdout.readline() == b"left\n"
        assert process.wait(20) == 0
