"""The answers of HTTP to results and errors."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from macaque.errors import (
    Cancelled,
    ConnectionLost,
    MacaqueError,
    NoResponders,
    RemoteError,
    StreamBroken,
    Timeout,
    refusal,
)
from macaque.http.answer import Problem, accepted, allowed, problem_of, result


def body(error: MacaqueError, **told: Any) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(problem_of(error, **told).answer.body)
    return members


def test_a_result_is_json_with_its_length() -> None:
    answer = result({"word": "grün"})
    assert answer.line == "200 OK"
    assert answer.body == '{"word":"grün"}'.encode()
    assert dict(answer.headers) == {"Content-Type": "application/json", "Content-Length": str(len(answer.body))}


def test_a_one_way_message_is_accepted_with_its_id() -> None:
    answer = accepted("8e03").with_headers(("X", "y"))
    assert (answer.line, answer.body) == ("202 Accepted", b'{"uuid":"8e03"}')
    assert {("Preference-Applied", "respond-async"), ("X", "y")} < set(answer.headers)


def test_options_tells_the_methods() -> None:
    assert (allowed("POST").status, allowed("POST").headers) == (204, (("Allow", "POST"),))


def test_an_aborted_request_has_its_code_as_the_status_and_all_that_the_service_told() -> None:
    answer = problem_of(RemoteError(404, "there is no task 3", None, {"id": 3}, True)).answer
    assert answer.line == "404 Not Found"
    assert dict(answer.headers)["Content-Type"] == "application/problem+json"
    assert json.loads(answer.body) == {
        "type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no task 3", "retryable": True,
        "details": {"id": 3},
    }  # fmt: skip


@pytest.mark.parametrize("code", [200, 302, 399, 600, -1, 10**30, "too-late"])
def test_a_code_that_is_no_error_of_http_is_500_and_told(code: int | str) -> None:
    assert body(RemoteError(code, "no"))["status"] == 500
    assert body(RemoteError(code, "no"))["code"] == code


def test_a_status_without_a_name_has_a_title() -> None:
    assert problem_of(RemoteError(499, "no")).answer.line == "499 Error"


def test_the_text_of_an_exception_is_told_only_with_debug() -> None:
    assert body(RemoteError(500, "password is 123", "KeyError"))["detail"] == "The service failed."
    assert body(RemoteError(500, "no row", "KeyError", traceback="Traceback ..."))["detail"] == "no row"
    assert body(RemoteError("exit", "SystemExit(secret)", "SystemExit"))["detail"] == "The service failed."


def test_data_that_does_not_fit_is_told() -> None:
    details = {"parameter": "task", "errors": [{"path": "task.id", "message": "Expected `int`, got `str`"}]}
    assert body(RemoteError(400, "no int at task.id", None, details))["details"] == details


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("amqp:not-allowed", 403),
        ("amqp:link:message-size-exceeded", 413),
        ("amqp:resource-limit-exceeded", 503),
        ("amqp:internal-error", 502),
    ],
)
def test_the_words_of_the_broker_are_not_told(condition: str, status: int) -> None:
    told = body(refusal(condition, "queue private:9 at 10.0.0.1"))
    assert told["status"] == status
    assert "10.0.0.1" not in json.dumps(told)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoResponders("t"), HTTPStatus.SERVICE_UNAVAILABLE),
        (Timeout("late", topic="t", timeout=2.0), HTTPStatus.GATEWAY_TIMEOUT),
        (ConnectionLost("gone", url="amqp://secret.example"), HTTPStatus.SERVICE_UNAVAILABLE),
        (StreamBroken("gone", topic="t", received=3), HTTPStatus.SERVICE_UNAVAILABLE),
        (Cancelled("t"), HTTPStatus.SERVICE_UNAVAILABLE),
        (Problem(415, "no"), HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    ],
)
def test_each_error_has_its_status(error: MacaqueError, status: HTTPStatus) -> None:
    answer = problem_of(error).answer
    assert answer.status == status
    assert ("Retry-After" in dict(answer.headers)) is (status == HTTPStatus.SERVICE_UNAVAILABLE)
    assert b"secret" not in answer.body


def test_a_request_that_no_worker_had_room_for_is_not_a_late_one() -> None:
    late = Timeout("late", topic="t", timeout=2.0)
    assert body(late)["detail"] == "t did not answer within 2 s."
    assert body(late, begun=False)["status"] == 503
    assert body(late, begun=False)["detail"] == "t had no room for the request within 2 s."


def test_a_problem_carries_its_headers() -> None:
    assert ("Allow", "POST") in Problem(405, "no", headers=(("Allow", "POST"),)).answer.headers
