"""The contract of services, on every broker."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

import macaque
from macaque.observe.discovery import ask
from processes import Spawn, wait_until
from real_brokers import Broker

WORKER = """
import os, signal, sys, macaque
app = macaque.Server()
@app.service(sys.argv[1], share_id="workers", credit=5)
def work(data):
    if data == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()
app.run(debug=True)
"""


def start_worker(spawn: Spawn, broker_url: str, topic: str) -> Any:
    return spawn(["-c", WORKER, topic], ready=f"serves {topic}", env={"MACAQUE_BROKER": broker_url})


def test_a_call_returns_what_the_service_returns(app: macaque.Server, client: macaque.Client, topic: str) -> None:
    app.service(topic)(lambda data: {"got": data})
    with app:
        assert client.call(topic, {"word": "grün", "n": [1, 2.5, None]}).result() == {
            "got": {"word": "grün", "n": [1, 2.5, None]}
        }


def test_many_calls_at_once_get_each_its_own_reply(app: macaque.Server, client: macaque.Client, topic: str) -> None:
    app.service(topic, share_id="workers", credit=50)(lambda data: data)
    with app:
        calls = [client.call(topic, number) for number in range(500)]
        assert [call.result() for call in calls] == list(range(500))


def test_an_error_of_the_service_reaches_its_caller(app: macaque.Server, client: macaque.Client, topic: str) -> None:
    app.service(topic)(lambda data: macaque.abort(404, "no such task"))
    with app, pytest.raises(macaque.RemoteError, match="no such task") as raised:
        client.call(topic, 1).result()
    assert raised.value.code == 404


def test_a_server_tells_what_it_serves(app: macaque.Server, client: macaque.Client, topic: str) -> None:
    def told() -> list[int | None]:
        try:
            found = ask(client, 1.0, "stats", topic)
        except (macaque.NoResponders, macaque.Timeout):  # the server announces itself after its services
            return []
        return [service.calls for server in found for service in server.services or ()]

    app.service(topic, share_id="workers")(lambda data: data)
    with app:
        assert client.call(topic, 1).result() == 1
        wait_until(lambda: told() == [1])


def test_a_large_request_and_reply_arrive_whole(app: macaque.Server, client: macaque.Client, topic: str) -> None:
    app.service(topic)(lambda data: data[::-1])
    with app:
        assert client.call(topic, "ab" * 200_000).result() == "ba" * 200_000


@pytest.mark.parametrize("odd", ["two words", "dots.in.it", "//empty//levels/", "*star#hash+plus", "100%", "grün/鱼"])
def test_any_text_can_be_the_topic_of_a_service(
    app: macaque.Server, client: macaque.Client, topic: str, odd: str
) -> None:
    app.service(f"{topic}/{odd}")(lambda data: data)
    with app:
        assert client.call(f"{topic}/{odd}", odd).result() == odd


def test_a_call_that_nobody_listens_to_ends(client: macaque.Client, broker: Broker, topic: str) -> None:
    expected = macaque.NoResponders if broker.tells_no_responders else macaque.Timeout
    with pytest.raises(expected):
        client.call(topic, 1, timeout=10.0 if broker.tells_no_responders else 1.0).result()


def test_a_service_that_is_not_shared_leaves_nothing_behind(
    app: macaque.Server, client: macaque.Client, broker: Broker, topic: str
) -> None:
    if not broker.tells_no_responders:
        pytest.skip(f"{broker.name} does not tell whether anybody listens")
    app.service(topic)(lambda data: data)
    with app:
        assert client.call(topic, 1).result() == 1
    with pytest.raises(macaque.NoResponders):
        client.call(topic, 1).result()


def test_members_of_a_share_divide_the_requests_and_others_get_them_all(
    broker_url: str, client: macaque.Client, topic: str
) -> None:
    seen: dict[str, list[int]] = {"first": [], "second": [], "log": []}
    apps = [macaque.Server(broker=broker_url) for _ in range(3)]
    for app, name, share in zip(apps, seen, ("workers", "workers", None), strict=True):
        app.service(topic, share_id=share, credit=1)(seen[name].append)
    with apps[0], apps[1], apps[2]:
        for call in [client.call(topic, number) for number in range(100)]:
            call.result()
        wait_until(lambda: len(seen["log"]) == 100)
    assert sorted(seen["first"] + seen["second"]) == list(range(100))
    assert seen["first"] and seen["second"]


def test_requests_wait_for_a_shared_service_that_is_offline(
    broker_url: str, client: macaque.Client, topic: str
) -> None:
    def worker() -> macaque.Server:
        app = macaque.Server(broker=broker_url)
        app.service(topic, share_id="workers")(lambda data: data + 1)
        return app

    with worker():
        assert client.call(topic, 1).result() == 2
    call = client.call(topic, 2)
    with pytest.raises(TimeoutError):
        call.result(0.2)
    with worker():
        assert call.result() == 3


def test_a_killed_worker_loses_no_request(spawn: Spawn, broker_url: str, client: macaque.Client, topic: str) -> None:
    first = start_worker(spawn, broker_url, topic)
    assert client.call(topic, "hello").result() == first.pid
    second = start_worker(spawn, broker_url, topic)
    calls = [client.call(topic, number) for number in range(200)]
    first.kill()
    answers = [call.result() for call in calls]
    assert second.pid in answers
    assert set(answers) <= {first.pid, second.pid}


def test_a_request_that_kills_its_worker_goes_to_the_next_one(
    spawn: Spawn, broker_url: str, client: macaque.Client, topic: str
) -> None:
    worker = start_worker(spawn, broker_url, topic)
    call = client.call(topic, "die")
    assert worker.wait(20) == -signal.SIGKILL
    heir = macaque.Server(broker=broker_url)
    heir.service(topic, share_id="workers")(lambda data: f"not for me: {data}")
    with heir:
        assert call.result() == "not for me: die"


def test_services_and_callers_come_back_after_the_broker_was_killed(
    spawn: Spawn, broker: Broker, client: macaque.Client, topic: str
) -> None:
    worker = start_worker(spawn, broker.url, topic)
    assert client.call(topic, 1).result() == worker.pid
    broker.remember()
    broker.kill()
    broker.start()

    def answered() -> bool:
        return client.call(topic, 1, timeout=5.0).exception() is None

    wait_until(answered, 40.0, "an answer after the restart")
    assert [client.call(topic, n).result() for n in range(20)] == [worker.pid] * 20
    assert os.path.exists(f"/proc/{worker.pid}")


def test_requests_that_were_accepted_are_there_after_the_broker_was_killed(
    broker: Broker, broker_url: str, topic: str
) -> None:
    if not broker.keeps:
        pytest.skip("the embedded server has its messages in memory here")

    def worker() -> macaque.Server:
        app = macaque.Server(broker=broker_url)
        app.service(topic, share_id="workers")(lambda data: data + 1)
        return app

    with macaque.Client(broker=broker_url, timeout=60.0) as client:
        with worker():
            assert client.call(topic, 0).result() == 1
        broker.remember()
        calls = [client.call(topic, number) for number in range(50)]
        wait_until(lambda: all(call._accepted for call in calls), what="the broker's word for every request")
        broker.kill()
        broker.start()
        with worker():
            assert [call.result() for call in calls] == list(range(1, 51))


def test_a_second_client_of_the_same_id_takes_the_first_ones_place(broker: Broker, topic: str) -> None:
    if not broker.takes_over:
        pytest.skip(f"{broker.name} lets clients of one id live side by side")
    first, second = (macaque.Server(broker=broker.url, cid=f"twin_{topic[-6:]}") for _ in range(2))
    for app in first, second:
        app.service(topic)(lambda data: data)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            first.run()
        except macaque.ConnectionLost as error:
            ended.append(error)

    running = threading.Thread(target=run)
    running.start()
    first.connect()
    with second:
        running.join(10.0)
        assert not running.is_alive()
    assert "client id" in str(ended[0])
