"""A signal's handler raises in the main thread, as Ctrl-C does, at every place where Python lets it.

Python runs such a handler after a call, at the begin of a function, and at the end of a turn of a loop. A trace of the
opcodes of a call stands for the signal, so that each of these places gets one.
"""

from __future__ import annotations

import dis
import logging
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import macaque
import mqlight.outlet
from processes import Server, wait_until

WAIT = 10.0
OURS = ("macaque", "mqlight", "threading")

pytestmark = [
    pytest.mark.skipif(not mqlight.outlet.__file__.endswith(".py"), reason="compiled code has no trace"),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 traces not all opcodes"),
]


class Interrupt:
    """Raises an error in this thread at a place with the given number."""

    def __init__(self, error: type[BaseException], number: int) -> None:
        self.error = error
        self.left = number
        self.where: str | None = None
        self._before: dict[FrameType, str] = {}

    def __enter__(self) -> Interrupt:
        sys._getframe().f_trace_opcodes = True  # else Python 3.12 traces no opcodes at first
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)

    def _on_call(self, frame: FrameType, event: str, argument: object) -> Any:
        name = frame.f_globals.get("__name__", "")
        if name.partition(".")[0] not in OURS or frame.f_code.co_name == "__del__":
            return None
        if name.startswith("macaque.observe"):  # whatever an observer raises is logged
            return None
        frame.f_trace_opcodes = True
        return self._on_opcode

    def _on_opcode(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode":
            before = self._before.get(frame, "")
            self._before[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if before.startswith("CALL") or before in ("RESUME", "JUMP_BACKWARD"):
                self.left -= 1
                if not self.left:
                    self.where = f"{frame.f_globals['__name__']}:{frame.f_lineno} {frame.f_code.co_name}"
                    sys.settrace(None)
                    raise self.error
        return self._on_opcode


def call(client: macaque.Client) -> None:
    client.call("echo", 1, lambda data: None, 0.5)


def gather(client: macaque.Client) -> None:
    client.gather("echo", 1, lambda data: None, 0.5, on_error=lambda error: None, replies=1)


def result(client: macaque.Client) -> None:
    client.call("echo", 1, None, WAIT).result()


def cancel(client: macaque.Client) -> None:
    client.call("echo", 1, lambda data: None, 0.5, on_error=lambda error: None).cancel()


def notify(client: macaque.Client) -> None:
    client.notify("echo", 1).result()


def stream(client: macaque.Client) -> None:
    with client.stream("echo", 1, WAIT) as parts:
        list(parts)


@pytest.mark.parametrize(
    "step, error, every",
    [
        (call, TimeoutError, 1),
        (gather, KeyboardInterrupt, 1),
        (result, TimeoutError, 1),
        (notify, KeyboardInterrupt, 1),
        (stream, TimeoutError, 2),
        (cancel, KeyboardInterrupt, 5),
    ],
)
def test_after_an_interrupt_the_next_call_works_and_nothing_is_left(
    server: Server,
    step: Callable[[macaque.Client], None],
    error: type[BaseException],
    every: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert threading.current_thread() is threading.main_thread()
    caplog.set_level(logging.CRITICAL)
    app = macaque.Server(server.url)
    app.service("echo")(lambda data: data)
    places = 0
    with app:
        while True:
            with macaque.Client(server.url) as client:
                client.call("echo", 0, lambda data: None).result(WAIT)
                interrupt, raised = Interrupt(error, places + 1), False
                try:
                    with interrupt:
                        step(client)
                except error:
                    raised = True
                where = f"interrupted at {interrupt.where}"
                assert raised or interrupt.where is None, where
                assert client.call("echo", places, None, WAIT).result() == places, where
            calls = client._calls
            wait_until(lambda: not calls.callbacks.owed and not len(calls), WAIT, where)  # noqa: B023 (called at once)
            if interrupt.where is None:
                break
            places += every
    assert places > 30
