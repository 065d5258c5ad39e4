from __future__ import annotations

import concurrent.futures
import threading
import time
from typing import Any

import pytest

import macaque
from processes import Server, wait_until


def test_many_calls_at_once_get_each_its_own_reply(client: macaque.Client, app: macaque.Server) -> None:
    calls = [client.call("echo", number) for number in range(3000)]
    assert [call.result() for call in calls] == list(range(3000))


def test_calls_may_come_from_many_threads(client: macaque.Client, app: macaque.Server) -> None:
    def work(start: int) -> bool:
        return all(client.call("echo", number).result() == number for number in range(start, start + 50))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(0, 800, 100)))


def test_nobody_listening_is_known_at_once(client: macaque.Client) -> None:
    began = time.monotonic()
    with pytest.raises(macaque.NoResponders) as raised:
        client.call("nobody/there", 1).result()
    assert raised.value.topic == "nobody/there"
    assert time.monotonic() - began < 5.0


def test_a_call_without_an_answer_times_out_at_its_deadline(client: macaque.Client, app: macaque.Server) -> None:
    began = time.monotonic()
    with pytest.raises(macaque.Timeout, match="No reply from 'stuck' within 0.3 s") as raised:
        client.call("stuck", 1, timeout=0.3).result()
    assert 0.29 < time.monotonic() - began < 3.0
    assert (raised.value.topic, raised.value.timeout) == ("stuck", 0.3)


def test_a_call_over_the_maximum_waits_for_another_to_end(
    client: macaque.Client, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client._calls._pending, "_maximum", 3)
    stuck = [client.call("stuck", number) for number in range(3)]
    with pytest.raises(macaque.MacaqueError):
        client.call("echo", 3, timeout=0.1)
    released = threading.Timer(0.2, app.go.set)
    released.start()
    assert client.call("echo", 4).result() == 4
    assert [call.result() for call in stuck] == [0, 1, 2]


def test_close_ends_the_calls_that_are_pending(shared_server: Server, app: macaque.Server) -> None:
    client = macaque.Client(broker=shared_server.url)
    call = client.call("stuck", 1)
    failed: list[Exception] = []
    client.call("stuck", 1, print, on_error=failed.append)
    client.close()
    with pytest.raises(macaque.ConnectionLost, match="closed"):
        call.result()
    wait_until(lambda: failed)
    assert isinstance(failed[0], macaque.ConnectionLost)


def test_a_full_queue_is_an_error_that_may_be_retried(spawn: Any) -> None:
    url = spawn(["-m", "mqlight.server", "--port", "0", "--max-queue-messages", "2"]).expect(r"amqp://127\S+$")[0]
    app = macaque.Server(broker=url)
    app.service("work", share_id="offline")(lambda data: data)
    with app:
        pass
    with macaque.Client(broker=url, timeout=5.0) as client:
        client.call("work", 1)
        client.call("work", 2)
        with pytest.raises(macaque.RemoteError) as raised:
            client.call("work", 3).result()
    assert (raised.value.code, raised.value.retryable) == (503, True)
