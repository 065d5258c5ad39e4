from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import macaque
import macaque.testing
from processes import ROOT

app = macaque.Server(broker="amqp://127.0.0.1:1")
warehouse = macaque.Client(broker="amqp://127.0.0.1:1")


@app.service("greet")
def greet(name: Any) -> str:
    return f"Hello {name}"


@app.service("fail", share_id="w")
def fail(data: Any) -> None:
    raise LookupError(f"no {data}")


@app.service("order")
def order(item: str) -> str:
    return f"{item}: {warehouse.call('stock', item, timeout=5).result()}"


@app.service("leave")
def leave(data: Any) -> None:
    sys.exit(3)


def test_a_service_is_called_in_memory_without_a_port_or_a_thread() -> None:
    before = set(threading.enumerate())
    with macaque.testing.client(app) as client:
        assert client.call("greet", "Ada").result() == "Hello Ada"
        assert set(threading.enumerate()) <= before
    assert set(threading.enumerate()) <= before


def test_an_app_is_not_changed_and_may_be_tested_again_and_in_parallel() -> None:
    before, state = dict(vars(app)), repr(app)

    def test(number: int) -> str:
        with macaque.testing.client(app) as client:
            return client.call("greet", number).result()

    assert [test(number) for number in range(20)] == [f"Hello {number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(test, range(40))) == [f"Hello {number}" for number in range(40)]
    assert vars(app) == before and repr(app) == state


def test_threads_share_a_client_and_its_services() -> None:
    with macaque.testing.client(app) as client, ThreadPoolExecutor(4) as pool:
        replies = pool.map(lambda number: client.call("greet", number).result(), range(200))
        assert list(replies) == [f"Hello {number}" for number in range(200)]


def test_a_hundred_tests_of_services_start_no_thread_and_open_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a test in memory needs no thread and no socket")

    monkeypatch.setattr("threading.Thread.start", refuse)
    monkeypatch.setattr("socket.socket.__init__", refuse)
    for number in range(100):
        with macaque.testing.client(app) as client:
            assert client.call("greet", number).result() == f"Hello {number}"
            assert client.clock.now() == 1000.0


def test_an_error_carries_the_traceback_of_the_service() -> None:
    with macaque.testing.client(app) as client, pytest.raises(macaque.RemoteError) as caught:
        client.call("fail", "milk").result()
    assert str(caught.value) == "LookupError: no milk (code 500)"
    assert 'raise LookupError(f"no {data}")' in (caught.value.traceback or "")
    assert caught.value.__notes__ == [f"In the service:\n{caught.value.traceback}"]


def test_a_topic_without_a_service_has_no_responders() -> None:
    with macaque.testing.client(app) as client, pytest.raises(macaque.NoResponders):
        client.call("grete", "Ada").result()


def test_a_service_calls_another_one_through_a_client_that_is_borrowed() -> None:
    stock = macaque.Server()
    stock.service("stock")(lambda item: len(item))
    for _ in range(2):
        with macaque.testing.client(app, stock, clients=[warehouse]) as client:
            assert client.call("order", "milk").result() == "milk: 4"
    assert repr(warehouse).endswith("stopped>")


def test_a_client_that_is_connected_cannot_be_borrowed() -> None:
    with macaque.testing.Broker() as broker:
        busy = broker.client()
        busy.start()
        with pytest.raises(ValueError, match="is connected to its own broker: borrow it before its first call"):
            with broker.borrow(busy):
                pass


def test_a_call_in_a_service_that_nobody_answers_times_out_by_the_clock_of_the_test() -> None:
    stock = macaque.Server()
    stock.service("stock", share_id="s", ttl=60)(len)
    with macaque.testing.Broker() as broker, broker.borrow(warehouse):
        broker.serve(app, stock)
        broker._servers[1].close()  # its share keeps the requests
        with pytest.raises(macaque.RemoteError, match="Timeout: No reply from 'stock' within 5 s"):
            broker.client().call("order", "milk").result()
        assert broker.clock.now() == pytest.approx(1005.0, abs=0.1)


def test_waiting_takes_no_time_and_ends_a_call_at_its_deadline() -> None:
    late = macaque.Server()

    @late.service("late", timeout=60)
    def wait(data: Any) -> str:
        client.clock.advance(45)
        return "too late"

    with macaque.testing.client(late, timeout=30) as client:
        call = client.call("late", 1)
        with pytest.raises(macaque.Timeout, match="No reply from 'late' within 30 s"):
            call.result()
        assert client.clock.now() == 1045.0
        with pytest.raises(ValueError, match="cannot go back by 1 s"):
            client.clock.advance(-1)


def test_a_service_that_exceeds_its_timeout_is_answered_for_meanwhile() -> None:
    slow = macaque.Server()

    @slow.service("slow", timeout=5)
    def work(data: Any) -> str:
        client.clock.advance(10)
        seen.append(call_error(client))
        return "done"

    def call_error(client: Any) -> list[str]:
        return [each.error["message"] for each in client.broker.published("response/#") if each.error]

    seen: list[list[str]] = []
    with macaque.testing.client(slow) as client, pytest.raises(macaque.RemoteError) as caught:
        client.call("slow", 1).result()
    assert caught.value.code == 504
    assert seen == [["slow was not done within 5 s"]]


def test_a_one_way_message_is_tried_again_by_the_clock_and_ends_as_a_dead_letter() -> None:
    attempts: list[float] = []
    shop = macaque.Server()

    @shop.service("orders/new", share_id="shop", max_deliveries=3)
    def take(data: Any) -> None:
        attempts.append(client.clock.now())
        raise OSError("the disk is full")

    with macaque.testing.client(shop) as client:
        client.notify("orders/new", {"item": "milk"}).result()
        assert attempts == [1000.0] and client.broker.dead_letters == []
        client.clock.advance(3600)
        assert len(attempts) == 3 and attempts == sorted(attempts)
        (letter,) = client.broker.dead_letters
        assert (letter.endpoint, letter.count, letter.data) == ("orders/new", 3, {"item": "milk"})
        assert letter.reason == "OSError: the disk is full"


def test_a_message_is_worth_nothing_after_its_time_to_live() -> None:
    shop = macaque.Server()
    seen: list[Any] = []
    shop.service("orders", share_id="shop")(seen.append)
    with macaque.testing.Broker() as broker:
        broker.serve(shop)
        broker._servers[0].close()
        client = broker.client()
        client.notify("orders", "stale", ttl=10).result()
        client.notify("orders", "fresh", ttl=100).result()
        broker.clock.advance(50)
        broker.serve(shop)
        assert seen == ["fresh"]


def test_what_was_published_can_be_looked_at() -> None:
    with macaque.testing.client(app) as client:
        client.call("greet", "Ada").result()
        with pytest.raises(macaque.RemoteError):
            client.call("fail", 1).result()
        request, reply, second, error = client.broker.published()
        assert (request.topic, request.data, reply.data, reply.error) == ("greet", "Ada", "Hello Ada", None)
        assert client.broker.published("fail") == [second]
        assert error.error is not None and error.error["message"] == "no 1"
        with pytest.raises(ValueError):
            client.broker.published("a/\0")


def test_a_client_that_knows_only_amqp_is_answered_to_its_reply_to() -> None:
    with macaque.testing.client(app) as client:
        assert client.broker.deliver("greet", "Ada", reply_to="answers/here")
        assert [each.data for each in client.broker.published("answers/#")] == ["Hello Ada"]
        assert not client.broker.deliver("grete", "Ada")


def test_a_callback_has_run_when_call_returns_and_its_exception_reaches_the_test() -> None:
    seen: list[str] = []

    def check(reply: str) -> None:
        assert reply == "Hello you"

    with macaque.testing.client(app) as client:
        client.call("greet", "Ada", seen.append)
        assert seen == ["Hello Ada"]
        with pytest.raises(AssertionError, match="Hello Ada"):
            client.call("greet", "Ada", check)
        assert client.call("greet", "you").result() == "Hello you"


def test_an_exit_in_a_service_ends_its_server_and_not_the_tests() -> None:
    with macaque.testing.client(app) as client:
        with pytest.raises(macaque.RemoteError) as caught:
            client.call("leave", None).result()
        assert caught.value.code == "exit"
        with pytest.raises(macaque.NoResponders):
            client.call("greet", "Ada").result()


def test_an_app_that_is_served_twice_shares_its_requests() -> None:
    with macaque.testing.Broker() as broker:
        broker.serve(app, app)
        client = broker.client()
        assert len(client.gather("greet", "Ada").result()) == 2
        with pytest.raises(macaque.RemoteError):
            client.call("fail", 1).result()
        assert len(broker.published("fail")) == 1


def test_connections_that_are_cut_come_back_and_nothing_is_lost() -> None:
    with macaque.testing.client(app) as client:
        client.connect()
        client.broker.cut()
        assert not client.connected
        assert client.call("greet", "Ada").result() == "Hello Ada"
        assert client.connected


def test_calls_that_wait_in_a_batch_or_one_by_one_all_end() -> None:
    with macaque.testing.client(app) as client:
        with client.batch():
            calls = [client.call("greet", number) for number in range(2000)]
        assert [call.result() for call in calls] == [f"Hello {number}" for number in range(2000)]


def test_only_a_server_can_be_served() -> None:
    with pytest.raises(TypeError, match="is not a macaque.Server: give the object with the services"):
        with macaque.testing.client(greet):  # type: ignore[arg-type]
            pass


def test_a_broker_may_be_closed_twice() -> None:
    broker = macaque.testing.Broker()
    broker.serve(app)
    client = broker.client()
    client.call("greet", "Ada")
    broker.close()
    broker.close()
    with pytest.raises(macaque.ConnectionLost, match="was closed"):
        client.call("greet", "Ada")


def test_a_test_in_memory_needs_no_extra(tmp_path: Path) -> None:
    program = """
import sys
for name in ("gevent", "bottle", "rich", "prometheus_client", "pytest"):
    sys.modules[name] = None
import macaque.testing
app = macaque.Server()
app.service("echo")(lambda data: data)
with macaque.testing.client(app) as client:
    print(client.call("echo", 1).result())
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("1\n", "")


def test_the_broker_of_an_app_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACAQUE_BROKER", "nonsense")
    anywhere = macaque.Server()
    anywhere.service("echo")(lambda data: data)
    with macaque.testing.client(anywhere) as client:
        assert client.call("echo", 1).result() == 1
