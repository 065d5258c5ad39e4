"""A service called by clients that know nothing of macaque: with AMQP's reply-to and correlation-id alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import foreign
import macaque
from processes import Server, Spawn


@pytest.fixture
def services(shared_server: Server) -> Iterator[macaque.Server]:
    """`todo/find`, which finds, refuses and fails."""
    app = macaque.Server(broker=shared_server.url)

    @app.service("todo/find", share_id="todo")
    def find(data: Any) -> Any:
        if data == {"id": 1}:
            return {"title": "Buy groceries"}
        if data == {"id": 2}:
            macaque.abort(404, "no such task")
        raise LookupError(data)

    with app:
        yield app


@pytest.fixture(params=["rhea", "proton"])
def program(request: pytest.FixtureRequest) -> list[str]:
    """The command of a client that makes calls and prints their ends."""
    if request.param == "rhea":
        return foreign.node(foreign.INTEROP, "rhea_call.js")
    return [sys.executable, str(foreign.INTEROP / "proton_call.py")]


def told(code: int, message: str) -> dict[str, object]:
    """The application properties of an error, under AMQP's names and under those that JMS can read."""
    return {"error-code": code, "error-message": message, "error_code": code, "error_message": message}


@pytest.mark.usefixtures("services")
def test_the_answer_the_error_and_the_want_of_anybody_come_back(
    shared_server: Server, program: list[str], spawn: Spawn
) -> None:
    calls = ["todo/find", '{"id": 1}', "todo/find", '{"id": 2}', "todo/find", "3", "nobody/here", "null"]
    process = spawn(command=[*program, str(shared_server.port), *calls])
    assert process.wait(30.0) == 0, process.log()
    answer, refusal, failure, unheard = map(json.loads, process.log().splitlines())
    assert answer == {
        "topic": "todo/find",
        "correlation": "about todo/find",
        "type": "application/json",
        "body": '{"title":"Buy groceries"}',
        "properties": None,
    }
    assert refusal["properties"] == told(404, "no such task")
    assert json.loads(refusal["body"]) == {"code": 404, "message": "no such task"}
    assert failure["properties"] == told(500, "3")
    assert json.loads(failure["body"])["type"] == "LookupError"
    assert unheard == {"topic": "nobody/here", "outcome": "released"}
