from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from commands import Command
from macaque.cli.calling import read_data, report
from processes import Server, Spawn


@pytest.fixture
def app(shared_server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=shared_server.url)

    @app.service("fails")
    def fails(data: Any) -> None:
        macaque.abort(404, "no such task", {"id": 7}, retryable=True)

    with app:
        yield app


def test_an_error_is_a_json_object_if_a_program_reads_it(shared_server: Server, app: macaque.Server) -> None:
    done = Command("call", "fails", "--json", broker=shared_server.url)
    assert (done.code, done.out) == (1, "")
    assert json.loads(done.err) == {
        "error": {"code": 404, "message": "no such task", "details": {"id": 7}, "retryable": True}
    }
    done = Command("call", "nobody", "--json", broker=shared_server.url)
    assert done.code == 1 and json.loads(done.err)["error"]["code"] == "NoResponders"


def test_the_traceback_of_a_service_in_debug_mode_is_printed_above_the_error(
    shared_server: Server, spawn: Spawn
) -> None:
    program = """
import macaque
app = macaque.Server()
@app.service("broken")
def broken(data):
    raise KeyError("price\\x1b[31m")
app.run(debug=True)
"""
    spawn(["-c", program], ready="serves broken", env={"MACAQUE_BROKER": shared_server.url})
    done = Command("call", "broken", broker=shared_server.url)
    assert done.code == 1 and "\x1b" not in done.err
    assert done.err.startswith("Traceback (most recent call last):\n") and ", in broken\n" in done.err
    assert done.err.splitlines()[-1] == "macaque: KeyError: 'price\\x1b[31m' (code 500)"


def test_an_error_ends_the_command_by_its_kind(capsys: pytest.CaptureFixture[str]) -> None:
    for error, code in (
        (macaque.Timeout("too late"), 1),
        (macaque.RemoteError(500, "no"), 1),
        (macaque.ConnectionLost("gone"), 2),
    ):
        with pytest.raises(SystemExit) as caught:
            report(error, as_json=False)
        assert caught.value.code == code
        assert capsys.readouterr().err == f"macaque: {error}\n"


def test_data_is_json() -> None:
    assert read_data('{"a": [1]}') == {"a": [1]}
    with pytest.raises(SystemExit):
        read_data("{a}")
