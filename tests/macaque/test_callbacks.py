from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

import macaque
from processes import wait_until


def test_a_callback_is_called_with_the_data(client: macaque.Client, app: macaque.Server) -> None:
    got: list[Any] = []
    client.call("echo", {"word": "one"}, got.append)
    wait_until(lambda: got)
    assert got == [{"word": "one"}]


def test_callbacks_run_one_at_a_time_in_the_order_of_the_replies(client: macaque.Client, app: macaque.Server) -> None:
    got: list[int] = []
    running = threading.Lock()
    overlapped = []

    def callback(number: int) -> None:
        if not running.acquire(blocking=False):
            overlapped.append(number)
        else:
            got.append(number)
            if number % 50 == 0:
                time.sleep(0.02)  # long enough to lose the reading thread
            running.release()

    for number in range(200):
        client.call("echo", number, callback)
    wait_until(lambda: len(got) + len(overlapped) == 200)
    assert overlapped == []


def test_a_callback_may_wait_for_another_call(client: macaque.Client, app: macaque.Server) -> None:
    got: list[Any] = []
    client.call("echo", 1, lambda data: got.append(client.call("echo", data + 1).result(5.0)))
    wait_until(lambda: got)
    assert got == [2]


def test_a_callback_that_fails_is_logged_and_the_next_one_runs(
    client: macaque.Client, app: macaque.Server, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[Any] = []
    client.call("echo", 1, lambda data: 1 / 0)
    client.call("echo", 2, got.append)
    wait_until(lambda: got)
    assert any(record.exc_info for record in caplog.records)


def test_an_error_goes_to_on_error_and_the_callback_is_not_called(client: macaque.Client) -> None:
    got: list[Any] = []
    failed: list[Exception] = []
    client.call("nobody", 1, got.append, on_error=failed.append)
    wait_until(lambda: failed)
    assert got == []
    assert isinstance(failed[0], macaque.NoResponders)


def test_an_error_that_nobody_takes_is_logged_once(client: macaque.Client, caplog: pytest.LogCaptureFixture) -> None:
    client.call("nobody", 1, print)
    wait_until(lambda: caplog.records)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "the call of 'nobody' failed: No service listens on the topic 'nobody': "
         "start it, or check the spelling.")
    ]  # fmt: skip
