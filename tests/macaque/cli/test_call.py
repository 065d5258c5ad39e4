from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from commands import Command
from processes import Server


@pytest.fixture
def app(shared_server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=shared_server.url)
    app.service("echo")(lambda data: data)
    app.service("fails")(lambda data: macaque.abort(404, "no such task"))
    with app:
        yield app


@pytest.mark.parametrize(
    "json_text, answer",
    [('{"word": "one", "n": [1, 2]}', {"word": "one", "n": [1, 2]}), ('"grüße"', "grüße"), ("5", 5), ("null", None)],
)
def test_call_prints_the_answer_as_indented_json(
    shared_server: Server, app: macaque.Server, json_text: str, answer: Any
) -> None:
    done = Command("call", "echo", json_text, broker=shared_server.url)
    assert (done.code, done.err) == (0, "")
    assert done.out == json.dumps(answer, indent=4, ensure_ascii=False) + "\n"


def test_call_without_json_sends_null(shared_server: Server, app: macaque.Server) -> None:
    assert Command("call", "echo", broker=shared_server.url).out == "null\n"


def test_a_number_below_zero_is_data_and_no_option(shared_server: Server, app: macaque.Server) -> None:
    for words in (["echo", "-1.5"], ["echo", "-1.5", "--timeout", "9"], ["--", "echo", "-1.5"]):
        assert Command("call", *words, broker=shared_server.url).out == "-1.5\n"
    assert "--json" in Command("call", "echo", "--jsn", broker=shared_server.url).err


def test_call_reads_json_from_standard_input(shared_server: Server, app: macaque.Server) -> None:
    done = Command("call", "echo", "-", "--broker", shared_server.url, stdin='["from", "stdin"]\n')
    assert json.loads(done.out) == ["from", "stdin"]


def test_an_error_of_the_service_is_one_line_and_status_1(shared_server: Server, app: macaque.Server) -> None:
    said = Command("call", "fails", broker=shared_server.url).failed(1)
    assert said == "macaque: no such task (code 404)\n"


def test_a_topic_on_which_nobody_listens_is_one_line_and_status_1(shared_server: Server) -> None:
    assert "No service listens on the topic 'nobody'" in Command("call", "nobody", broker=shared_server.url).failed(1)


def test_a_call_without_an_answer_is_one_line_and_status_1(shared_server: Server, app: macaque.Server) -> None:
    app.service("stuck", share_id="offline")(lambda data: data)
    app.connect()
    app.close()
    said = Command("call", "stuck", "--timeout", "0.3", broker=shared_server.url).failed(1)
    assert "No reply from 'stuck' within 0.3 s" in said


def test_an_unreachable_broker_is_one_line_and_status_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"amqp://127.0.0.1:{taken.getsockname()[1]}"
        assert url in Command("call", "echo", "1", broker=url).failed(2)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["echo", "{word: one}"], "'{word: one}' is not JSON"),
        (["echo", "[" * 5000], "is not JSON"),
        (["", "1"], "topic is empty"),
        (["echo", "1", "--timeout", "0"], "The timeout 0.0 is not between"),
        (["echo", "1", "--broker", "ftp://x"], "the URL in --broker cannot be used"),
        (["echo", "1", "--broker", "amqp://:x"], "is not valid"),
    ],
)
def test_a_call_that_cannot_work_is_one_line_and_status_2(
    shared_server: Server, arguments: list[str], said: str
) -> None:
    assert said in Command("call", *arguments, broker=shared_server.url).failed(2)
