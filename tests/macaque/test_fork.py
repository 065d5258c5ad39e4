"""Processes that fork: the child calls over a connection of its own, and the parent notices nothing."""

from __future__ import annotations

import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import macaque
from certificates import Certificates
from processes import Server, start_server

PROGRAM = """
import multiprocessing, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 advises against forks of processes with threads
import macaque

def print(*words, flush=False):
    # A line is written at once: parent and child share a pipe, and the built-in writes a line in several parts.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def in_child(function):
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException as error:
            print(f"child failed: {type(error).__name__}: {error}", flush=True)
        finally:
            sys.stdout.flush()
            os._exit(0)
    return child

def wait(child):
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture
def echo(shared_server: Server) -> Iterator[None]:
    app = macaque.Server(broker=shared_server.url)
    app.service("echo")(lambda data: data)
    with app:
        yield


def run(spawn: Any, server: Server, body: str, program: str = PROGRAM) -> list[str]:
    process = spawn(["-c", program + body], env={"MACAQUE_BROKER": server.url})
    assert process.wait(30.0) == 0, process.log()
    said = process.log()
    assert "Traceback" not in said and "child failed" not in said, said
    return said.splitlines()


@pytest.mark.parametrize("cid", ["", "cid='chosen'"], ids=["made up", "chosen"])
def test_a_child_calls_over_a_connection_of_its_own(shared_server: Server, echo: None, spawn: Any, cid: str) -> None:
    said = run(spawn, shared_server, f"""if True:
        client = macaque.Client(timeout=5, {cid})
        client.call("echo", 0).result()
        before, channel = client.client_id, client._connection._outlet.driver
        def calls():
            print("child", client.call("echo", 1).result(), client.client_id != before)
            client.call("echo", 2, lambda data: (print("callback", data), done.set()))
            done.wait(5)
            client.close()
        done = threading.Event()
        wait(in_child(calls))
        print("parent", client.call("echo", 3).result(), client.client_id == before)
        print("undisturbed", client._connection._outlet.driver is channel)
        client.close()
    """)  # fmt: skip
    assert said == ["child 1 True", "callback 2", "parent 3 True", "undisturbed True"]


def test_a_child_that_ends_takes_no_leave_in_its_parents_name(certificates: Certificates, spawn: Any) -> None:
    """Also with TLS, by exit functions and by the garbage collector."""
    server = start_server("--tls-cert", certificates.host("127.0.0.1"))
    security = {"ssl_trust_certificate": certificates.authority}
    try:
        app = macaque.Server(broker=server.url, security_options=security)
        app.service("echo")(lambda data: data)
        with app:
            said = run(spawn, server, f"""if True:
                import gc
                client = macaque.Client(timeout=5, security_options={security!r})
                client.call("echo", 0).result()
                channel = client._connection._outlet.driver
                child = os.fork()
                if child == 0:
                    other, client = client, None
                    other.close()
                    del other
                    gc.collect()
                    sys.exit(0)  # runs what is registered for the exit
                wait(child)
                print("parent", client.call("echo", 1).result(), client._connection._outlet.driver is channel)
                client.close()
            """)  # fmt: skip
            assert said == ["parent 1 True"]
    finally:
        server.close()


def test_a_thread_forks_while_others_call(shared_server: Server, echo: None, spawn: Any) -> None:
    said = run(spawn, shared_server, """if True:
        client = macaque.Client(timeout=10)
        client.call("echo", 0).result()
        over = threading.Event()
        ends = []
        def call():
            while not over.is_set():
                ends.append(client.call("echo", 1).result())
        def fork():
            for number in range(5):
                wait(in_child(lambda: print("child", client.call("echo", number).result())))
        callers = [threading.Thread(target=call) for _ in range(3)]
        forker = threading.Thread(target=fork)
        for thread in (*callers, forker):
            thread.start()
        forker.join()
        over.set()
        for thread in callers:
            thread.join()
        print("parent", set(ends))
        client.close()
    """)  # fmt: skip
    assert said == [*(f"child {number}" for number in range(5)), "parent {1}"]


def test_calls_in_flight_are_the_parents_and_their_callbacks_run_there_only(shared_server: Server, spawn: Any) -> None:
    app = macaque.Server(broker=shared_server.url)

    @app.service("slow")
    def slow(data: Any) -> Any:
        asked.wait(5.0)
        return data

    asked = threading.Event()
    app.service("go")(lambda data: asked.set())
    with app:
        said = run(spawn, shared_server, """if True:
            client = macaque.Client(timeout=10)
            client.connect()
            pid = os.getpid()
            call = client.call("slow", 7)
            client.call("slow", 8, lambda data: os.write(1, f"callback {data} {os.getpid() == pid}\\n".encode()))
            def look():
                error = call.exception()
                print("child", type(error).__name__, error.reason)
            wait(in_child(look))
            client.call("go", None).result()
            os.write(1, f"parent {call.result()}\\n".encode())
        """)  # fmt: skip
    assert said[0] == "child ConnectionLost forked"
    assert sorted(said[1:]) == ["callback 8 True", "parent 7"]


def test_no_two_processes_make_the_same_uuid(shared_server: Server, echo: None, spawn: Any) -> None:
    said = run(spawn, shared_server, """if True:
        client = macaque.Client(timeout=5)
        wait(in_child(lambda: print(client.call("echo", 0).uuid)))
        wait(in_child(lambda: print(client.call("echo", 0).uuid)))
        print(client.call("echo", 0).uuid)
        client.close()
    """)  # fmt: skip
    assert len(said) == len({uuid[:24] for uuid in said}) == 3


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing_works_with_every_way_to_start(
    shared_server: Server, echo: None, spawn: Any, tmp_path: Path, method: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM
        + """
client = macaque.Client(timeout=10)

def work(number):
    return client.call("echo", number).result()

if __name__ == "__main__":
    print("parent", work(0))
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print("children", pool.map(work, range(4)))
    print("parent", work(5))
    client.close()
"""
    )
    process = spawn([str(program), method], env={"MACAQUE_BROKER": shared_server.url})
    assert process.wait(30.0) == 0, process.log()
    assert process.log().splitlines() == ["parent 0", "children [0, 1, 2, 3]", "parent 5"]


def test_the_child_of_a_server_does_not_serve_until_it_is_told_to(shared_server: Server, spawn: Any) -> None:
    said = run(spawn, shared_server, """if True:
        app = macaque.Server()
        app.service("who")(lambda data: os.getpid())
        app.connect()
        client = macaque.Client(timeout=5)
        parent = os.getpid()
        def child():
            print("stopped", app.connected, list(app.unready()))
            print("parent serves", {client.call("who", n).result() for n in range(10)} == {parent})
            app.connect()
            both = set()
            client.gather("who", 0, replies=2, callback=both.add).result()
            print("both serve", both == {parent, os.getpid()})
            app.close()
            client.close()
        wait(in_child(child))
        print("parent", client.call("who", 0).result() == parent)
        client.close()
        app.close()
    """)  # fmt: skip
    assert said == ["stopped False ['server']", "parent serves True", "both serve True", "parent True"]


def test_a_child_that_a_service_started_is_ended_without_ending_the_server(
    shared_server: Server, spawn: Any, tmp_path: Path
) -> None:
    program = tmp_path / "forking.py"
    program.write_text(
        PROGRAM
        + """
app = macaque.Server()

@app.service("forking")
def forking(data):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(10)
    return child.exitcode

app.service("forking/ready")(lambda data: True)
threading.Thread(target=lambda: (app.connect(), print("ready", flush=True)), daemon=True).start()
app.run()
"""
    )
    process = spawn([str(program)], env={"MACAQUE_BROKER": shared_server.url}, ready="ready")
    with macaque.Client(broker=shared_server.url, timeout=15.0) as client:
        assert client.call("forking", 0).result() == -15
        assert client.call("forking", 0).result() == -15
    assert process.stop() == 0


def test_greenlets_fork_as_threads_do(shared_server: Server, echo: None, spawn: Any) -> None:
    said = run(spawn, shared_server, """if True:
        client = macaque.Client(timeout=5)
        client.call("echo", 0).result()
        channel = client._connection._outlet.driver
        wait(in_child(lambda: print("child", client.call("echo", 1).result())))
        print("parent", client.call("echo", 2).result(), client._connection._outlet.driver is channel)
        client.close()
    """, "from gevent import monkey\nmonkey.patch_all()\n" + PROGRAM)  # fmt: skip
    assert said == ["child 1", "parent 2 True"]


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_gunicorn_may_load_the_application_before_it_forks(
    shared_server: Server, echo: None, spawn: Any, tmp_path: Path, worker: str
) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    patch = "from gevent import monkey\nmonkey.patch_all()\n" if worker == "gevent" else ""
    (tmp_path / "site_of_mine.py").write_text(
        patch
        + """
import os, macaque
client = macaque.Client(timeout=5)
client.call("echo", "preloaded").result()

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(client.call("echo", 7).result()).encode()]
"""
    )
    process = spawn(
        ["-m", "gunicorn", "--preload", "--workers", "2", "--worker-class", worker, "--bind", "127.0.0.1:0",
         "--worker-tmp-dir", str(tmp_path), "site_of_mine:app"],
        env={"MACAQUE_BROKER": shared_server.url, "PYTHONPATH": f"{tmp_path}:{sys.path[0]}:."},
        ready=r"(?s)Listening at: (http://\S+).*Booting worker.*Booting worker",
    )  # fmt: skip
    url = process.expect(r"Listening at: (http://\S+)")[1]
    for _ in range(6):
        with urllib.request.urlopen(url, timeout=10.0) as answer:
            assert answer.read() == b"7"
    assert process.stop() == 0


def test_an_mq_light_client_works_in_the_child_and_stays_as_it_was_in_the_parent(
    shared_server: Server, spawn: Any
) -> None:
    said = run(spawn, shared_server, """if True:
        import mqlight
        got, sent = threading.Event(), threading.Event()
        subscribed = threading.Event()
        client = mqlight.Client(os.environ["MACAQUE_BROKER"], "chosen_one")
        def on_message(kind, data, delivery):
            print("parent", data, flush=True)
            got.set()
        client.subscribe("forked", on_message=on_message, on_subscribed=lambda *args: subscribed.set())
        assert subscribed.wait(5)
        def child():
            assert client.is_stopped() and client.get_id() != "chosen_one"
            client.send("forked", "from the child", {"qos": 1}, lambda *args: sent.set())
            assert sent.wait(5)
            print("child", client.get_state(), flush=True)
        wait(in_child(child))
        assert got.wait(5)
        print(client.get_id(), client.get_state())
        client.stop()
    """)  # fmt: skip
    assert sorted(said) == ["child started", "chosen_one started", "parent from the child"]
