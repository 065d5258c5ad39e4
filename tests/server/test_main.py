"""The server's log of its clients. No text from outside makes a line of its own."""

from __future__ import annotations

import json
import os
import socket
import sys

import pytest

import macaque
from processes import ROOT, Process, Spawn, start_server, wait_until


def lines_of(server: Process) -> list[dict[str, str]]:
    return [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]


def test_verbose_logs_connections_that_come_and_go() -> None:
    server = start_server("--verbose")
    try:
        with macaque.Client(server.url, cid="fish") as client:
            client.connect(10)
        server.expect(r"INFO mqlight.server.protocol: 127\.0\.0\.1:\d+ fish: connected as ")
        server.expect(r"127\.0\.0\.1:\d+ fish \(.*\): gone after \d+\.\d s: the client has closed it")
    finally:
        server.close()


def test_json_is_one_object_a_line_whatever_a_stranger_sends() -> None:
    server = start_server("--log-level", "info", "--log-format", "json")
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as stranger:
            stranger.sendall(b"AMQP\x03\x01\x00\x00")
            mechanism = b"X\nERROR\x1b[31m"
            field = b"\xa3" + bytes([len(mechanism)]) + mechanism
            body = b"\x00\x53\x41\xc0" + bytes([len(field) + 1, 1]) + field
            stranger.sendall((8 + len(body)).to_bytes(4, "big") + b"\x02\x01\x00\x00" + body)
            while stranger.recv(4096):
                pass
        refused = wait_until(lambda: [line for line in lines_of(server) if "SASL" in line["message"]])
        assert "SASL X\\nERROR\\x1b[31m," in refused[0]["message"]
        assert set(refused[0]) == {"time", "level", "logger", "message"} and refused[0]["level"] == "warning"
    finally:
        server.close()


@pytest.mark.parametrize(
    "link",
    [{"AMQP_PORT": "tcp://10.96.0.12:5672"}, {"AMQP_SERVICE_HOST": "10.96.0.12"}],
)
def test_a_variable_that_kubernetes_made_neither_stops_nor_configures_the_server(
    spawn: Spawn, link: dict[str, str]
) -> None:
    spawn(["-m", "mqlight.server", "--port", "0"], env=link, ready=r"ready at amqp://127\.0\.0\.1:\d+")
    # Without --port the variable would be read: a wrong option after it shows that it was not what stopped the program.
    wrong = spawn(["-m", "mqlight.server", "--tls-key", "x"], env=link)
    assert wrong.wait(20) == 2 and "--tls-key needs --tls-cert" in wrong.log()


def test_without_its_extra_the_server_names_it_in_one_sentence(spawn: Spawn, tmp_path: os.PathLike[str]) -> None:
    blocked = "import sys, runpy; sys.modules['gevent'] = None; runpy.run_module('mqlight.server', run_name='__main__')"
    server = spawn(command=[sys.executable, "-c", blocked], cwd=ROOT)
    assert server.wait(20) == 2
    assert server.log() == ("The server needs gevent, which its extra installs: pip install 'macaque-amqp[server]'\n")
