"""The command for another worker."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from frontend import command
from processes import ROOT, Server, start_server, wait_until


def test_it_is_run_in_the_folder_by_the_interpreter_that_runs_here() -> None:
    found = command.worker({}, "/a b/.venv/bin/python", "/a b")
    assert found == {"command": "cd '/a b' && .venv/bin/python -m backend"}
    assert command.worker({}, "/usr/bin/python3", "/app")["command"] == "cd /app && /usr/bin/python3 -m backend"


@pytest.mark.parametrize(
    ("broker", "part"),
    [
        ("amqp://127.0.0.1:5672", "&& /p"),
        ("amqp://localhost", "&& /p"),
        ("amqp://127.0.0.1:5700", "&& MACAQUE_BROKER=amqp://127.0.0.1:5700 /p"),
        ("amqps://[::1]:5671?queues=classic", "&& MACAQUE_BROKER='amqps://[::1]:5671?queues=classic' /p"),
    ],
)
def test_it_names_the_messaging_server_when_that_is_another_one(broker: str, part: str) -> None:
    found = command.worker({"MACAQUE_BROKER": broker}, "/p", "/app")
    assert part in found["command"] and "note" not in found


@pytest.mark.parametrize(
    "broker",
    [
        "amqp://u:hunter2@h", "amqp://u:hun@ter2@h:5672", "amqp://h:1,amqp://u:hunter2@h", "amqp://u:hunter2",
        "u:hunter2@h", "amqp://h?password=hunter2", "amqp://h;echo hunter2", "amqp://h?secret=hunter2",
    ],
)  # fmt: skip
def test_no_part_of_a_password_is_in_it(broker: str) -> None:
    found = command.worker({"MACAQUE_BROKER": broker}, "/p", "/app")
    assert "ter2" not in str(found) and "MACAQUE_BROKER" in found["note"]


def test_on_a_platform_it_is_the_platforms() -> None:
    cloud = {"VCAP_APPLICATION": '{"application_name": "my-frontend-2"}', "MACAQUE_BROKER": "amqp://u:p@h"}
    assert command.worker(cloud, "/p", "/app") == {"command": "cf scale my-backend-2 -i 2"}
    for broken in ("{}", "[", "7", '{"application_name": 5}'):
        assert command.worker({"VCAP_APPLICATION": broken}, "/p", "/")["command"] == "cf scale fishalive-backend -i 2"
    assert "kubectl scale" in command.worker({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "/p", "/")["command"]


def test_the_served_command_starts_a_worker(site: Any, server: Server) -> None:
    served = site.visitor().get("rest/worker").body
    assert server.url in served["command"] and sys.executable.removeprefix(f"{ROOT}/") in served["command"]
    assert site.visitor().get("rest/worker", **{"X-Forwarded-For": "1.2.3.4"}).body == command.ANYWHERE
    visitor = site.visitor()
    worker = subprocess.Popen(["sh", "-c", f"exec 2>/dev/null; {served['command'].replace('&& ', '&& exec env ')}"])
    try:

        def is_served() -> bool:
            visitor.submit("fish")
            return visitor.fetch(1)[0]["word"] == "FISH"

        wait_until(is_served, 20, "the worker of the command")
    finally:
        worker.terminate()
        worker.wait(10)


def test_clients_on_this_machine_are_told_the_address_of_the_console(start_site: Any) -> None:
    server = start_server("--console-port", "0")
    try:
        console = server.expect(r"console at (http://\S+)$")[1]
        visitor = start_site(server.url).visitor()
        wait_until(lambda: visitor.get("rest/worker").body.get("console") == console, what="the server's address")
        assert "console" not in visitor.get("rest/worker", **{"X-Forwarded-For": "1.2.3.4"}).body
    finally:
        server.close()


@pytest.mark.parametrize(
    "address", ["", "javascript:alert(1)", "http://evil.example/", "http://127.0.0.1:9180/ ", "http://127.0.0.1:9180/x"]
)
def test_an_address_that_no_server_of_ours_gives_is_not_passed_on(address: str) -> None:
    assert command.console({"console": address}) == {}
    assert command.console({"console": "http://127.0.0.1:9180/"}) == {"console": "http://127.0.0.1:9180/"}
