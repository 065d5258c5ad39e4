from __future__ import annotations

import pickle

import pytest

import macaque
from macaque.errors import Abort, lost, refusal
from mqlight.errors import MQLightError, NetworkError

ERRORS = [
    macaque.MacaqueError("something"),
    macaque.RemoteError(404, "no such task", "LookupError", {"task": 7}, True, "Traceback ..."),
    macaque.NoResponders("todo/tasks"),
    macaque.Timeout("No answer.", topic="todo/tasks", timeout=2.5),
    macaque.ConnectionLost("No connection.", url="amqp://127.0.0.1:5672", reason="refused"),
    Abort("busy", "come back later", [1], True),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_its_attributes(error: macaque.MacaqueError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_is_a_macaque_error(error: macaque.MacaqueError) -> None:
    assert isinstance(error, macaque.MacaqueError)


def test_a_timeout_and_a_lost_connection_are_what_python_calls_by_these_names_too() -> None:
    assert issubclass(macaque.Timeout, TimeoutError)
    assert issubclass(macaque.ConnectionLost, ConnectionError)


def test_a_remote_error_reads_as_a_sentence_with_its_code() -> None:
    assert str(macaque.RemoteError(404, "no such task")) == "no such task (code 404)"
    assert str(macaque.RemoteError(500, "3", "KeyError")) == "KeyError: 3 (code 500)"
    assert str(macaque.RemoteError(500, "", "ValueError")) == "ValueError: the service gave no reason (code 500)"


def test_no_responders_names_the_topic() -> None:
    assert "'todo/tasks'" in str(macaque.NoResponders("todo/tasks"))


def test_abort_carries_what_it_was_given() -> None:
    with pytest.raises(Abort) as raised:
        macaque.abort(409, "taken already", details={"by": "me"}, retryable=True)
    error = raised.value
    assert (error.code, error.message, error.details, error.retryable) == (409, "taken already", {"by": "me"}, True)


@pytest.mark.parametrize("code", [None, 4.5, True, [404]])
def test_abort_takes_no_code_but_a_number_or_a_name(code: object) -> None:
    with pytest.raises(TypeError, match="code of abort"):
        macaque.abort(code, "wrong")  # type: ignore[arg-type]


def test_abort_takes_no_message_but_text() -> None:
    with pytest.raises(TypeError, match="message of abort"):
        macaque.abort(400, {"wrong": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "condition, code, retryable",
    [
        ("amqp:resource-limit-exceeded", 503, True),
        ("amqp:link:message-size-exceeded", 413, False),
        ("amqp:not-allowed", 403, False),
        ("amqp:internal-error", 502, False),
    ],
)
def test_a_refusal_by_the_server_has_a_code_that_says_what_to_do(condition: str, code: int, retryable: bool) -> None:
    error = refusal(condition, "the reason")
    assert (error.code, error.type, error.retryable) == (code, condition, retryable)
    assert "the reason" in str(error)


def test_a_lost_connection_has_the_reason_and_the_url_of_the_broker() -> None:
    url = "amqp://127.0.0.1:5672"
    for error in (lost(NetworkError("closed", url=url)), lost(MQLightError("closed"), url)):
        assert (str(error), error.url, error.reason) == ("No connection to the broker: closed", url, "closed")
    assert str(lost(None)) == "No connection to the broker: it does not answer"
