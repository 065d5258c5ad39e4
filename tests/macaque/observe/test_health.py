from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import macaque
from macaque.observe.health import MAX_REQUESTS, Health
from processes import Server, Spawn, start_server, wait_until


@pytest.fixture
def app(server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=server.url)
    yield app
    app.close()


@pytest.fixture
def health(app: macaque.Server) -> Iterator[Health]:
    with Health(app) as health:
        yield health


def get(health: Health | int, path: str, method: str = "GET") -> tuple[int, Any]:
    port = health if isinstance(health, int) else health.port
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            status, body, kind = response.status, response.read(), response.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            status, body, kind = error.code, error.read(), error.headers["Content-Type"]
    return status, json.loads(body) if body and kind == "application/json" else body.decode()


def test_a_server_is_ready_when_the_broker_has_confirmed_its_services(app: macaque.Server, health: Health) -> None:
    app.service("one")(lambda data: data)
    app.service("two", share_id="w")(lambda data: data)
    assert get(health, "/readyz") == (
        503, {"ready": False, "unready": {"server": "it is not started, or is leaving"}},
    )  # fmt: skip
    with app:
        assert get(health, "/readyz") == (200, {"ready": True, "unready": {}})
    assert get(health, "/readyz")[0] == 503
    assert get(health, "/healthz") == (200, {"alive": True})


def test_a_server_without_its_broker_is_not_ready_and_is_again_when_it_is_back() -> None:
    broker = start_server()
    app = macaque.Server(broker=broker.url)
    app.service("one")(lambda data: data)
    try:
        with Health(app) as health, app:
            assert get(health, "/readyz")[0] == 200
            broker.kill()
            status, body = wait_until(lambda: (found := get(health, "/readyz"))[0] == 503 and found)
            assert "connection" in body["unready"]
            broker.close()
            broker = start_server(port=broker.port)
            wait_until(lambda: get(health, "/readyz")[0] == 200)
    finally:
        broker.close()


def test_a_busy_service_is_ready(app: macaque.Server, health: Health, server: Server) -> None:
    go = threading.Event()
    app.service("one", credit=1)(lambda data: go.wait(10.0))
    with app, macaque.Client(broker=server.url) as client:
        call = client.call("one", 1)
        wait_until(lambda: metric(health, 'macaque_requests_in_flight{endpoint="one"}') == 1)
        assert get(health, "/readyz")[0] == 200
        go.set()
        call.result()


def test_a_service_that_the_broker_has_not_confirmed_is_not_ready(server: Server) -> None:
    """Behind a broker that takes connections and answers no attach."""
    silent = SilentBroker(server)
    app = macaque.Server(broker=silent.url)
    app.service("one", share_id="w")(lambda data: data)
    try:
        with Health(app) as health:
            app.start()
            wait_until(lambda: app.connected)
            reason = "not confirmed by the broker, or without credit"
            assert get(health, "/readyz") == (503, {"ready": False, "unready": {"one (share w)": reason}})
    finally:
        app.close(timeout=0.1)
        silent.close()


class SilentBroker:
    """Passes on what the server says until the connection is open, and then nothing more."""

    def __init__(self, server: Server) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"amqp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = server
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._server.port))
        self._sockets += [near, far]
        pump = threading.Thread(target=self._up, args=(near, far))
        pump.start()
        while data := far.recv(65536):
            if (attach := data.find(b"\x00S\x12")) >= 0:  # the answer to the first attach
                near.sendall(data[: attach - 8])
                break
            near.sendall(data)
        pump.join()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while data := near.recv(65536):
                far.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join(10.0)
        for each in (*self._sockets, self._listener):
            each.close()


def metric(health: Health | int, name: str) -> float:
    status, text = get(health, "/metrics")
    assert status == 200
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " ")), 0.0)


def test_metrics_count_requests_by_their_endpoint_and_how_they_ended(
    app: macaque.Server, health: Health, server: Server
) -> None:
    app.service("metrics/+")(lambda data: macaque.abort(data, "no") if data else "yes")
    before = {name: metric(health, name) for name in ('macaque_connected{role="server"}',)}
    with app, macaque.Client(broker=server.url, timeout=10.0) as client:
        client.call("metrics/1", 0).result()
        for code in (404, "mine"):
            with pytest.raises(macaque.RemoteError):
                client.call("metrics/2", code).result()
        for code, count in (("ok", 1), ("404", 1), ("other", 1)):
            assert metric(health, f'macaque_requests_total{{code="{code}",endpoint="metrics/+"}}') == count
        assert metric(health, 'macaque_request_seconds_count{endpoint="metrics/+"}') == 3
        assert metric(health, 'macaque_connected{role="server"}') == before['macaque_connected{role="server"}'] + 1


@pytest.mark.parametrize(
    "method, path, status", [("GET", "/", 404), ("POST", "/readyz", 405), ("HEAD", "/healthz", 200)]
)
def test_other_requests_are_answered_honestly(health: Health, method: str, path: str, status: int) -> None:
    assert get(health, path, method)[0] == status


def test_a_client_that_says_nothing_holds_nobody_up(health: Health) -> None:
    with socket.create_connection(("127.0.0.1", health.port)):
        assert get(health, "/healthz")[0] == 200


def test_more_clients_than_there_are_places_for_are_hung_up_on(health: Health) -> None:
    silent = [socket.create_connection(("127.0.0.1", health.port)) for _ in range(MAX_REQUESTS)]
    try:
        with socket.create_connection(("127.0.0.1", health.port), timeout=10) as one_more:
            assert one_more.recv(1) == b""
    finally:
        for each in silent:
            each.close()
    wait_until(lambda: served(health))


def served(health: Health) -> bool:
    try:
        return get(health, "/healthz")[0] == 200
    except OSError:
        return False


def test_without_prometheus_metrics_say_what_to_install(server: Server) -> None:
    """In a process of its own, which cannot import prometheus_client."""
    code = f"""
import sys, urllib.request, urllib.error
sys.modules["prometheus_client"] = None
import macaque
from macaque.observe.health import Health
app = macaque.Server(broker={server.url!r})
with Health(app) as health:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{{health.port}}/metrics")
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("501 ") and "pip install 'macaque-amqp[metrics]'" in done.stdout, done.stderr


def test_health_may_be_closed_twice_and_frees_its_port(app: macaque.Server) -> None:
    health = Health(app)
    health.close()
    health.close()
    with Health(app, port=health.port):
        pass


SERVICES = """
import macaque
app = macaque.Server()
app.service("echo")(lambda data: data)
"""


def test_run_serves_its_health(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "services.py").write_text(SERVICES)
    arguments = ["-m", "macaque", "run", "services:app", "--health-port", "0", "--drain-timeout", "2"]
    worker = spawn(arguments, ready="serves echo", env={"MACAQUE_BROKER": server.url}, cwd=tmp_path)
    port = int(worker.expect(r"health of \S+ at http://127.0.0.1:(\d+)/readyz")[1])
    assert get(port, "/readyz")[0] == 200
    assert metric(port, 'macaque_connected{role="server"}') == 1
    assert worker.stop() == 0


def test_a_health_port_that_is_taken_is_one_line_and_status_2(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    (tmp_path / "services.py").write_text(SERVICES)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        worker = spawn(["-m", "macaque", "run", "services:app", "--health-port", port], cwd=tmp_path)
        assert worker.wait() == 2
    assert worker.log() == f"macaque: the health port {port} of 127.0.0.1 cannot be used: Address already in use\n"
