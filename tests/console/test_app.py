"""Starting and ending the console, and the answers that every path gives."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest

from console.conftest import Site, Start
from processes import Spawn, start_server


def test_every_answer_forbids_what_a_page_does_not_need(site: Site) -> None:
    for path in ("", "messages", "api/session", "app.js", "nothing/here"):
        headers = site.visitor().get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"], path
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert site.visitor().get("api/messages").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "static/app.js", "%2e%2e/app.py", "api/nothing"])
def test_no_name_leads_to_a_file(site: Site, path: str) -> None:
    parts = urlsplit(site.console)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=10)
    connection.request("GET", f"/{path}")
    assert connection.getresponse().status == 404
    connection.close()


def test_the_default_port_is_the_next_free_one() -> None:
    first = start_server("--console")
    try:
        second = start_server("--console")
        try:
            ports = {int(each.expect(r"console at http://127\.0\.0\.1:(\d+)/")[1]) for each in (first, second)}
            assert len(ports) == 2 and all(9180 <= port < 9200 for port in ports)
        finally:
            second.close()
    finally:
        first.close()


def test_a_port_that_was_asked_for_and_is_taken_is_one_line(site: Site, spawn: Spawn) -> None:
    port = str(urlsplit(site.console).port)
    server = spawn(["-m", "mqlight.server", "--port", "0", "--console-port", port])
    assert server.wait(20) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in server.log() and "--console-port" in server.log()


def test_a_server_for_other_machines_has_no_console_unless_told(spawn: Spawn) -> None:
    server = spawn(["-m", "mqlight.server", "--host", "0.0.0.0", "--port", "0", "--allow-anonymous"], ready="ready at")
    server.stop()
    assert "console" not in server.log()


def test_the_console_ends_with_its_server_while_a_page_is_open(site: Site) -> None:
    frames = site.visitor().frames()
    next(frames)
    assert site.server.stop() == 0


def test_acting_needs_the_right(start_console: Start) -> None:
    visitor = start_console().visitor().begin()
    assert visitor.get("api/session").body["admin"] is False
    answer = visitor.post("api/messages", {"topic": "t", "body": "m"})
    assert answer.status == 403 and "--console-admin" in answer.body["error"]
