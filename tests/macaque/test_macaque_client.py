from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from macaque.pending import Pending
from processes import Server, start_server, wait_until


@pytest.fixture
def client(shared_server: Server) -> Iterator[macaque.Client]:
    with macaque.Client(broker=shared_server.url, timeout=10.0) as client:
        yield client


@pytest.fixture
def app(shared_server: Server) -> Iterator[macaque.Server]:
    """A server of `echo`, and of `stuck`, which does not answer before `app.go` is set."""
    app = macaque.Server(broker=shared_server.url)
    app.go = threading.Event()  # type: ignore[attr-defined]
    app.service("echo")(lambda data: data)

    @app.service("stuck")
    def stuck(data: Any) -> Any:
        app.go.wait(20.0)  # type: ignore[attr-defined]
        return data

    with app:
        yield app
        app.go.set()  # type: ignore[attr-defined]


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A URL at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"amqp://127.0.0.1:{taken.getsockname()[1]}"


# Results


def test_a_call_returns_a_future_for_the_data_of_the_reply(client: macaque.Client, app: macaque.Server) -> None:
    call = client.call("echo", {"word": "one"})
    assert call.result() == {"word": "one"}
    assert call.done()
    assert call.exception() is None
    assert call.result() == {"word": "one"}


def test_many_calls_at_once_get_each_its_own_reply(client: macaque.Client, app: macaque.Server) -> None:
    calls = [client.call("echo", number) for number in range(3000)]
    assert [call.result() for call in calls] == list(range(3000))


def test_calls_may_come_from_many_threads(client: macaque.Client, app: macaque.Server) -> None:
    def work(start: int) -> bool:
        return all(client.call("echo", number).result() == number for number in range(start, start + 50))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(0, 800, 100)))


def test_several_threads_may_wait_for_one_call(client: macaque.Client, app: Any) -> None:
    call = client.call("stuck", 1)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(call.result) for _ in range(4)]
        app.go.set()
        assert [each.result(10.0) for each in waiting] == [1, 1, 1, 1]


def test_waiting_no_longer_does_not_end_the_call(client: macaque.Client, app: Any) -> None:
    call = client.call("stuck", 1)
    with pytest.raises(TimeoutError, match="it goes on"):
        call.result(0.05)
    with pytest.raises(TimeoutError):
        call.exception(0)
    assert not call.done()
    assert "pending" in repr(call)
    app.go.set()
    assert call.result() == 1
    assert "returned" in repr(call)


def test_done_callbacks_are_told_at_the_end_or_at_once(client: macaque.Client, app: Any) -> None:
    told: list[Any] = []
    call = client.call("stuck", 1)
    call.add_done_callback(told.append)
    call.add_done_callback(told.append)
    assert told == []
    app.go.set()
    wait_until(lambda: told == [call, call])
    call.add_done_callback(lambda done: told.append(done.result()))
    assert told == [call, call, 1]


def test_every_request_has_a_uuid_of_its_own(shared_server: Server) -> None:
    uuids = set()
    for _ in range(2):
        with macaque.Client(broker=shared_server.url) as client:
            uuids |= {client.call("nobody", None).uuid for _ in range(100)}
    assert len(uuids) == 200
    shape = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(shape.fullmatch(uuid) for uuid in uuids)


# Callbacks


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
        (logging.ERROR, "the call of 'nobody' failed: Nobody listens on the topic 'nobody': "
         "start its service, or check the spelling.")
    ]  # fmt: skip


def test_a_service_may_call_another_service(shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    inner = macaque.Client(broker=shared_server.url, timeout=5.0)
    app.service("outer", credit=1)(lambda data: inner.call("inner", data).result() + 1)
    app.service("inner", credit=1)(lambda data: data * 10)
    with app, inner, macaque.Client(broker=shared_server.url, timeout=10.0) as client:
        assert [client.call("outer", number).result() for number in range(20)] == [n * 10 + 1 for n in range(20)]


# Every call ends


def test_nobody_listening_is_known_at_once(client: macaque.Client) -> None:
    began = time.monotonic()
    with pytest.raises(macaque.NoResponders) as raised:
        client.call("nobody/there", 1).result()
    assert raised.value.topic == "nobody/there"
    assert time.monotonic() - began < 5.0


def test_a_call_without_an_answer_times_out_at_its_deadline(client: macaque.Client, app: macaque.Server) -> None:
    began = time.monotonic()
    with pytest.raises(macaque.Timeout, match="No answer from 'stuck' within 0.3 s") as raised:
        client.call("stuck", 1, timeout=0.3).result()
    assert 0.29 < time.monotonic() - began < 3.0
    assert (raised.value.topic, raised.value.timeout) == ("stuck", 0.3)


def test_the_client_has_a_timeout_for_calls_that_say_none(shared_server: Server, app: macaque.Server) -> None:
    with macaque.Client(broker=shared_server.url, timeout=0.2) as client, pytest.raises(macaque.Timeout):
        client.call("stuck", 1).result()


def test_a_short_timeout_is_kept_after_a_long_one(client: macaque.Client, app: macaque.Server) -> None:
    long = client.call("stuck", 1, timeout=20.0)
    began = time.monotonic()
    with pytest.raises(macaque.Timeout):
        client.call("stuck", 1, timeout=0.2).result()
    assert time.monotonic() - began < 3.0
    assert not long.done()


def test_a_reply_after_the_deadline_is_dropped(client: macaque.Client, app: Any) -> None:
    late = client.call("stuck", 1, timeout=0.1)
    assert isinstance(late.exception(), macaque.Timeout)
    app.go.set()
    assert client.call("echo", 2).result() == 2
    assert isinstance(late.exception(), macaque.Timeout)


def test_without_a_server_a_call_ends_in_connection_lost_at_its_deadline(nowhere: str) -> None:
    with macaque.Client(broker=nowhere, timeout=0.5) as client:
        with pytest.raises(macaque.ConnectionLost, match="refused") as raised:
            client.call("echo", 1).result()
        assert raised.value.url == nowhere
        assert not client.connected


def test_connect_says_at_once_that_there_is_no_server(nowhere: str) -> None:
    with macaque.Client(broker=nowhere) as client, pytest.raises(macaque.ConnectionLost, match=nowhere):
        client.connect(timeout=10.0)


def test_a_call_made_before_the_server_is_there_reaches_it_when_it_comes() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with macaque.Client(broker=f"amqp://127.0.0.1:{port}", timeout=20.0) as client:
        call = client.call("echo", 1)
        server = start_server(port=port)
        try:
            assert isinstance(call.exception(), macaque.NoResponders)
        finally:
            server.close()


def test_a_client_comes_back_after_a_restart_of_the_server(server: Server) -> None:
    app = macaque.Server(broker=server.url)
    app.service("echo", share_id="one")(lambda data: data)
    with app, macaque.Client(broker=server.url, timeout=20.0) as client:
        assert client.call("echo", 1).result() == 1
        server.kill()
        wait_until(lambda: not client.connected)
        again = start_server(port=server.port)

        def answered() -> bool:
            try:
                return client.call("echo", 2).result() == 2
            except macaque.NoResponders:
                return False  # the service is still on its way back

        try:
            wait_until(answered)
        finally:
            again.close()


def test_a_client_that_is_replaced_by_its_own_id_ends_its_calls(shared_server: Server, app: macaque.Server) -> None:
    with (
        macaque.Client(broker=shared_server.url, cid="twin_client") as first,
        macaque.Client(broker=shared_server.url, cid="twin_client") as second,
    ):
        first.connect()
        call = first.call("stuck", 1)
        second.connect()
        with pytest.raises(macaque.ConnectionLost, match="client's id"):
            call.result()
        with pytest.raises(macaque.ConnectionLost, match="client's id"):
            first.call("echo", 1)


# Bounds


def test_a_call_over_the_maximum_waits_for_another_to_end(
    client: macaque.Client, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_pending", Pending(threading.Lock(), maximum=3))
    stuck = [client.call("stuck", number) for number in range(3)]
    with pytest.raises(macaque.MacaqueError):
        client.call("echo", 3, timeout=0.1)
    released = threading.Timer(0.2, app.go.set)
    released.start()
    assert client.call("echo", 4).result() == 4
    assert [call.result() for call in stuck] == [0, 1, 2]


# Life


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


def test_close_may_be_called_twice_and_without_a_connection(shared_server: Server) -> None:
    client = macaque.Client(broker=shared_server.url)
    client.close()
    client.close()
    with pytest.raises(macaque.ConnectionLost, match="make a new one"):
        client.call("echo", 1)


def test_a_client_connects_when_it_is_told_to(shared_server: Server) -> None:
    with macaque.Client(broker=shared_server.url, cid="me") as client:
        assert not client.connected
        client.start()
        client.connect()
        assert client.connected
        assert repr(client) == "<macaque.Client me: started>"
    assert not client.connected


@pytest.mark.parametrize(
    "arguments, kind, said",
    [
        ((7, 1), TypeError, "The endpoint 7 is not a str"),
        (([], 1), TypeError, "is not a str"),
        (("", 1), ValueError, "empty"),
        (("t", object()), TypeError, "cannot be sent as JSON"),
        (("t", 1, "print"), TypeError, "'print' is not a function"),
        (("t", 1, asyncio.sleep), TypeError, "is async, so a call of it runs nothing"),
        (("t", 1, (lambda data: (yield))), TypeError, "is a generator, so a call of it runs nothing"),
        (("t", 1, None, 0), ValueError, "The timeout 0 is not between"),
        (("t", 1, None, float("nan")), ValueError, "nan"),
        (("t", 1, None, "5"), TypeError, "'5' is not a number"),
    ],
)
def test_a_call_that_cannot_work_is_refused_at_once(
    client: macaque.Client, arguments: tuple[Any, ...], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        client.call(*arguments)


def test_a_done_callback_that_would_run_nothing_is_refused(client: macaque.Client) -> None:
    call = client.call("t", 1)
    for function, said in (None, "None is not a function"), (asyncio.sleep, "is async"):
        with pytest.raises(TypeError, match=said):
            call.add_done_callback(function)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [{"timeout": -1}, {"cid": "a b"}, {"broker": "what"}, {"broker": 7}])
def test_a_client_that_cannot_work_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        macaque.Client(**arguments)


# The end of the process

CALLER = """
import sys, time, macaque
client = macaque.Client(timeout={timeout})
def got(data):
    {body}
{call}
"""


def script(body: str = "print('got', data)", call: str = "client.call('echo', 1, got)", timeout: float = 20.0) -> str:
    return CALLER.format(body=body, call=call, timeout=timeout)


@pytest.mark.parametrize(
    "text, output",
    [
        (script(), "got 1\n"),
        (script(call="print(client.call('echo', 2).result())"), "2\n"),
        (script(call="for n in range(3): client.call('echo', n, got)"), "got 0\ngot 1\ngot 2\n"),
        (script(body="time.sleep(0.3); print('got', data)"), "got 1\n"),
        (script(body="print(client.call('echo', data + 1).result())"), "2\n"),
        (script(body="print('got', data); data < 3 and client.call('echo', data + 1, got)"), "got 1\ngot 2\ngot 3\n"),
        (script(call="client.call('stuck', 1, print, on_error=lambda e: print(type(e).__name__))", timeout=0.5),
         "Timeout\n"),
        (script(call="client.call('stuck', 1)"), ""),
        (script(call="client.call('stuck', 1, got); client.close()"),
         "the call of 'stuck' failed: The client was closed before 'stuck' answered.\n"),
    ],
    ids=["callback", "future", "callbacks", "slow", "nested", "chained", "timeout", "forgotten", "closed"],
)  # fmt: skip
def test_a_process_ends_when_its_callbacks_have_run(
    shared_server: Server, app: macaque.Server, spawn: Any, text: str, output: str
) -> None:
    caller = spawn(["-c", text], env={"MACAQUE_BROKER": shared_server.url})
    assert caller.wait(15.0) == 0
    assert caller.log() == output


@pytest.mark.parametrize("body", ["sys.exit({})", "time.sleep(0.2); sys.exit({})", "exit({})"])
@pytest.mark.parametrize("ending", ["", "; time.sleep(30)"], ids=["main ended", "main runs"])
def test_exit_in_a_callback_ends_the_process_with_its_status(
    shared_server: Server, app: macaque.Server, spawn: Any, body: str, ending: str
) -> None:
    text = script(body=body.format(7), call=f"client.call('echo', 1, got){ending}")
    caller = spawn(["-c", text], env={"MACAQUE_BROKER": shared_server.url})
    assert caller.wait(10.0) == 7
    assert caller.log() == ""


def test_a_process_without_a_server_ends_by_the_deadline_of_its_call(nowhere: str, spawn: Any) -> None:
    caller = spawn(["-c", script(timeout=0.5)], env={"MACAQUE_BROKER": nowhere})
    assert caller.wait(15.0) == 0
    assert "the call of 'echo' failed: No connection to the messaging server" in caller.log()
    assert "Traceback" not in caller.log()


def test_a_process_under_gevent_ends_when_its_callbacks_have_run(
    shared_server: Server, app: macaque.Server, spawn: Any
) -> None:
    text = "from gevent import monkey; monkey.patch_all()\n" + script(
        call="client.call('echo', 1, got); print(client.call('echo', 2).result())"
    )
    caller = spawn(["-c", text], env={"MACAQUE_BROKER": shared_server.url})
    assert caller.wait(15.0) == 0
    assert sorted(caller.log().splitlines()) == ["2", "got 1"]


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
