from __future__ import annotations

import logging
from collections.abc import Callable
from threading import get_ident
from typing import Any

import msgspec
import pytest

import macaque
from macaque.cycles import told_of_waits
from macaque.envelope import Request
from macaque.faults import EXIT
from macaque.invocation import Failure, Invoker

THREE = msgspec.Raw(b"3")


def run(function: Callable[[Any], Any], data: Any = THREE, count: int = 0, reply_to: str | None = "r") -> Any:
    invoker = Invoker("work", function, False, lambda topic: None)
    return invoker.run(Request("u-1", data, reply_to), lambda request, result: (request.uuid, result), count)


def test_a_function_gets_the_data_and_its_result_is_encoded_for_the_request() -> None:
    assert run(lambda data: data + 1) == ("u-1", 4)
    assert run(lambda data: data, data=b"of another AMQP type") == ("u-1", b"of another AMQP type")


@pytest.mark.parametrize("text", [b"1e999", b'"\xff"'])
def test_a_function_is_not_called_with_data_that_cannot_be_decoded(text: bytes) -> None:
    called: list[Any] = []
    failure = run(called.append, msgspec.Raw(text))
    assert type(failure) is Failure and failure.undecodable and failure.exit is None
    assert (failure.fault.code, failure.fault.type, called) == (400, "BadRequest", [])
    assert failure.fault.message.startswith("The data of the request cannot be decoded: ")


def test_an_error_is_a_failure_and_so_is_a_result_that_cannot_be_encoded() -> None:
    def refuse(request: Request, result: Any) -> bytes:
        raise TypeError("no place for it")

    failure = Invoker("work", lambda data: data, False, lambda topic: None).run(Request("u", 1, "r"), refuse, 0)
    assert (failure.fault.code, failure.fault.type, failure.undecodable) == (500, "TypeError", False)
    assert run(lambda data: data / 0).fault.type == "ZeroDivisionError"


def test_an_exit_says_how_the_process_is_to_end() -> None:
    failure = run(lambda data: exit(data))
    assert failure.fault.code == EXIT and failure.exit.code == 3


def test_an_abort_is_logged_in_a_line_and_a_retry_not_at_all(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "macaque"):
        run(lambda data: macaque.abort(404, "no such word"))
        run(lambda data: data / 0, count=1, reply_to=None)
        run(lambda data: data / 0, count=1)
    assert [(record.levelno, bool(record.exc_info)) for record in caplog.records] == [
        (logging.INFO, False), (logging.ERROR, True)
    ]  # fmt: skip
    assert "work aborted the request u-1 from r: no such word (code 404)" in caplog.text


def test_the_waits_of_a_function_are_told_while_it_runs() -> None:
    told: list[str] = []
    invoker = Invoker("work", lambda data: told_of_waits[get_ident()]("other"), False, told.append)
    invoker.run(Request("u", 1, "r"), lambda request, result: result, 0)
    assert told == ["other"] and get_ident() not in told_of_waits
