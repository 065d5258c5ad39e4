"""The services of one server inside of the process, from the first request to the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import Client

import macaque
from macaque.http.answer import Problem
from macaque.http.mount import Mount
from processes import Server, Spawn, wait_until

BOUND = 10.0


@pytest.fixture
def app() -> Iterator[macaque.Server]:
    app = macaque.Server()
    app.service("echo")(lambda data: data)
    yield app
    app.close()


@pytest.fixture
def mount(app: macaque.Server) -> Mount:
    return app._mounted()


def test_it_begins_with_the_first_request(mount: Mount) -> None:
    assert not mount.begun
    assert mount.client().call("echo", 5).result() == 5
    assert mount.begun
    assert mount.client() is mount.client()


def test_many_first_requests_begin_it_once(mount: Mount) -> None:
    clients: list[macaque.Client] = []
    meet = threading.Barrier(8)

    def begin() -> None:
        meet.wait(BOUND)
        clients.append(mount.client())

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert len(clients) == 8 and len(set(map(id, clients))) == 1


def test_a_path_is_that_of_a_topic_with_a_slash_if_there_is_no_other(app: macaque.Server, mount: Mount) -> None:
    for topic in "/todo/tasks", "/both", "both":
        app.service(topic)(lambda data: data)
    assert [mount.at(path) for path in ("todo/tasks", "both", "nothing")] == ["/todo/tasks", "both", "nothing"]


def test_it_knows_the_services_by_topic_and_pattern(app: macaque.Server, mount: Mount) -> None:
    def typed(data: int) -> int:
        """Doc."""
        return data

    app.service("a/+", safe=True)(typed)
    found = mount.find("a/b")
    assert (found.topic, found.safe, found.streams, found.request) == ("a/+", True, False, {"type": "integer"})
    assert mount.find("a/c") is found
    with pytest.raises(Problem, match="no service at 'b'") as caught:
        mount.find("b")
    assert caught.value.status == 404


def test_services_may_be_added_later_but_no_hooks(app: macaque.Server, mount: Mount) -> None:
    client = mount.client()
    app.service("later")(lambda data: data + 1)
    assert mount.find("later").topic == "later"
    assert client.call("later", 5).result() == 6
    with pytest.raises(RuntimeError, match="too late"):
        app.before_request(lambda: None)


def test_a_service_that_is_added_while_it_begins_is_served_once(app: macaque.Server, mount: Mount) -> None:
    client = mount.client()
    for service in app._registry:
        mount.add(service)
    assert client.gather("echo", 5, timeout=0.1, replies=2).result() == [5]


def test_a_server_that_closes_finishes_what_runs_and_waits_and_may_begin_again(
    app: macaque.Server, mount: Mount
) -> None:
    go, done = threading.Event(), list[Any]()

    def work(data: Any) -> Any:
        go.wait(BOUND)
        done.append(data)

    app.service("work", credit=1)(work)
    client = mount.client()
    for number in range(3):
        client.notify("work", number).result()
    closing = threading.Thread(target=app.close)
    closing.start()
    go.set()
    closing.join(BOUND)
    assert done == [0, 1, 2]
    assert not mount.begun
    assert mount.client() is not client
    assert mount.client().call("echo", 5).result() == 5


def test_a_function_that_does_not_end_is_left_behind(
    app: macaque.Server, mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()
    app.service("stuck", credit=1)(lambda data: go.wait(BOUND))
    calls = [mount.client().call("stuck", None) for _ in range(2)]
    wait_until(lambda: calls[0]._accepted, BOUND)
    app.close(0.05)
    assert "1 unfinished messages, which are lost" in caplog.text
    assert isinstance(calls[0].exception(BOUND), macaque.ConnectionLost)
    assert isinstance(calls[1].exception(BOUND), macaque.NoResponders)
    go.set()


def test_its_threads_end_with_it(app: macaque.Server, mount: Mount) -> None:
    assert mount.client().call("echo", 5).result() == 5
    mine = [each for each in threading.enumerate() if each.name.startswith("macaque-local")]
    assert mine
    mount.close()
    wait_until(lambda: not any(each.is_alive() for each in mine), BOUND)


def test_a_setting_that_is_invalid_is_told_by_every_request(app: macaque.Server, mount: Mount) -> None:
    app.config["CREDIT"] = "many"
    for _ in range(2):
        with pytest.raises(TypeError, match="CREDIT"):
            mount.client()
    app.config["CREDIT"] = 3
    assert mount.client().call("echo", 5).result() == 5


def test_without_a_thread_the_services_are_unavailable_and_not_lost(
    app: macaque.Server, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(macaque.ConnectionLost, match="can't start new thread"):
            mount.client()
        assert Client(app.wsgi).post("/echo", json=5).status_code == 503
    assert Client(app.wsgi).post("/echo", json=5).json == 5


def test_one_server_serves_both(shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    app.service("both/pid")(lambda data: os.getpid())
    with app, macaque.Client(broker=shared_server.url, timeout=BOUND) as client:
        assert app._mounted().client().call("both/pid", None).result() == os.getpid()
        assert client.call("both/pid", None).result() == os.getpid()
        app.service("both/later")(lambda data: data)
        assert app._mounted().client().call("both/later", 5).result() == 5
        wait_until(lambda: not app.unready(), BOUND)
        assert client.call("both/later", 5).result() == 5


def test_a_request_is_counted_by_the_observer_of_the_server(app: macaque.Server, mount: Mount) -> None:
    began: list[str] = []

    class Observer:
        def __init__(self, kind: str) -> None: ...
        def request_began(self, service: Any) -> None:
            began.append(service.topic)

        def __getattr__(self, name: str) -> Any:
            return lambda *told: None

    app._observe(Observer)  # type: ignore[arg-type]
    assert mount.client().call("echo", 5).result() == 5
    assert began == ["echo"]


FORKS = """
import os, sys, threading
import macaque

app = macaque.Server()
go = threading.Event()
app.service("pid")(lambda data: os.getpid())
app.service("stuck")(lambda data: go.wait(20))
mount = app._mounted()
if sys.argv[1] == "begun":
    assert mount.client().call("pid", None).result() == os.getpid()
    mount.client().call("stuck", None)
    threading.Thread(target=lambda: [mount.client().call("pid", None).result() for _ in range(2000)]).start()
for _ in range(3):
    child = os.fork()
    if child == 0:
        assert mount.client().call("pid", None).result(10) == os.getpid()
        app.close(1.0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
assert mount.client().call("pid", None).result() == os.getpid()
go.set()
print("done")
"""


@pytest.mark.parametrize("when", ["new", "begun"])
def test_each_child_of_a_fork_has_one_of_its_own(spawn: Spawn, when: str) -> None:
    assert spawn(["-c", FORKS, when], ready="done").wait() == 0


ENDS = """
import threading, time
import macaque

app = macaque.Server()
begun = threading.Event()

@app.service("work")
def work(data):
    begun.set()
    time.sleep(0.2)
    print("worked", flush=True)

app._mounted().client().notify("work", None).result()
begun.wait(10)
"""


def test_the_process_ends_when_what_runs_is_finished(spawn: Spawn) -> None:
    program = spawn(["-c", ENDS], ready="worked")
    assert program.wait() == 0


EXITS = """
import threading
import macaque

app = macaque.Server()

@app.service("end")
def end(data):
    raise SystemExit(3)

app._mounted().client().call("end", None)
threading.Event().wait(20)
"""


def test_an_exit_in_a_service_ends_the_process(spawn: Spawn) -> None:
    assert spawn(["-c", EXITS]).wait() == 3
