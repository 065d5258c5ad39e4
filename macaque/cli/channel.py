"""The channel between a supervisor and each of its workers: two connected sockets.

The supervisor ends its side to ask the worker to leave. The system does the same if the supervisor is killed. The
worker sends one message: its services, once it serves.
"""

from __future__ import annotations

import _thread
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from macaque.observe.info import ServiceInfo

__all__ = ["ask_to_leave", "heard", "leave_with_parent", "say"]

AGAIN = 0.2
"""Seconds until a worker whose parent has left is asked again to leave."""


def ask_to_leave(channel: socket.socket) -> None:
    """Ask the worker at the other end to finish its requests and end. A second call is harmless."""
    with suppress(OSError):  # it has ended already
        channel.shutdown(socket.SHUT_WR)


def heard(channel: socket.socket) -> list[ServiceInfo] | None:
    """Wait for the message of the worker, and return it; None if the worker ends without one."""
    with suppress(OSError, msgspec.DecodeError), channel.makefile("rb") as lines:
        return msgspec.json.decode(lines.readline(), type=list[ServiceInfo])
    return None


def say(channel: int, services: Sequence[ServiceInfo]) -> None:
    """Send the message of a worker.

    Args:
        channel: the descriptor of the worker's end.
        services: the services.
    """
    with suppress(OSError), open(channel, "wb", closefd=False) as lines:
        lines.write(msgspec.json.encode(services) + b"\n")


def leave_with_parent(channel: int, leave: Callable[[], bool]) -> None:
    """Call `leave()` when the process that started this one asks for it, or ends. Returns at once.

    Args:
        channel: the descriptor of this end. The programs that this process starts do not inherit it.
        leave: begins an orderly end. It is called again and again, because the server may just be starting. If it
            returns False, there is nothing to finish, and the process ends.
    """
    os.set_inheritable(channel, False)

    def wait() -> None:
        with suppress(OSError):  # a reset: the supervisor was killed
            while os.read(channel, 1024):
                pass
        while leave():
            pause.wait(AGAIN)
        os._exit(0)

    pause = threading.Event()
    # An application that gevent patches is imported after this. gevent cannot do it if threading knows a second thread.
    _thread.start_new_thread(wait, ())
