from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import msgspec
import pytest

import macaque
from macaque.context import current
from macaque.envelope import Request
from macaque.faults import EXIT
from macaque.hooks import Hooks
from macaque.invocation import Encode, Failure, Invoker
from macaque.job import Job
from macaque.registry import Registry

THREE = msgspec.Raw(b"3")


def uuid_and_result(request: Request, result: Any) -> Any:
    return request.uuid, result


def invoker(function: Callable[..., Any], *, debug: bool = False, told: Any = None) -> Invoker:
    service = Registry().add("work", "w", 5, function)
    return Invoker(service, debug=debug, clock=lambda: 100.0, about_to_wait=told, topic_of=str)


def hooked(function: Callable[..., Any], scope: Hooks, data: Any = THREE) -> Any:
    service = Registry().add("work", "w", 5, function, hooks=(Hooks(), scope))
    made = Invoker(service, debug=False, clock=lambda: 100.0, about_to_wait=len, topic_of=str)
    return made.run(job(data), uuid_and_result)


def job(data: Any = THREE, *, count: int = 0, reply_to: str | None = "r") -> Job:
    made = Job(None)  # type: ignore[arg-type]
    made.request, made.count = Request("u-1", data, reply_to), count
    return made


def run(
    function: Callable[..., Any], *args: Any, encode: Encode = uuid_and_result, debug: bool = False, **told: Any
) -> Any:
    return invoker(function, debug=debug).run(job(*args, **told), encode)


def test_a_function_gets_the_data_and_its_result_is_encoded_for_the_request() -> None:
    assert run(lambda data: data + 1) == ("u-1", 4)
    assert run(lambda data: data, b"of another AMQP type") == ("u-1", b"of another AMQP type")


@pytest.mark.parametrize("text", [b"1e999", b'"\xff"'])
def test_a_function_is_not_called_with_data_that_cannot_be_decoded(text: bytes) -> None:
    called: list[Any] = []
    failure = run(called.append, msgspec.Raw(text))
    assert type(failure) is Failure and failure.undecodable and failure.exit is None
    assert (failure.fault.code, failure.fault.type, called) == (400, "BadRequest", [])
    assert failure.fault.message.startswith("The data of the request cannot be decoded: ")


@pytest.mark.parametrize("data", [msgspec.Raw(b'"three"'), "three"])
def test_a_function_is_not_called_with_data_that_does_not_fit_its_annotation(data: Any) -> None:
    called: list[int] = []

    def work(number: int) -> None:
        called.append(number)

    failure = run(work, data)
    assert (failure.fault.code, failure.fault.type, failure.undecodable, called) == (400, None, False, [])
    assert failure.fault.message == (
        "The data does not fit the parameter 'number' of work: Expected `int`, got `str` at number"
    )
    assert failure.fault.details == {
        "parameter": "number", "errors": [{"path": "number", "message": "Expected `int`, got `str`"}],
    }  # fmt: skip


def test_an_error_is_a_failure_and_so_is_a_result_that_cannot_be_encoded() -> None:
    def refuse(request: Request, result: Any) -> bytes:
        raise TypeError("no place for it")

    failure = run(lambda data: data, encode=refuse)
    assert (failure.fault.code, failure.fault.type, failure.undecodable) == (500, "TypeError", False)
    assert run(lambda data: data / 0).fault.type == "ZeroDivisionError"


def test_a_result_that_does_not_fit_its_annotation_is_an_error_under_debug_only() -> None:
    def work(data: Any) -> int:
        return "three"  # type: ignore[return-value]

    assert run(work) == ("u-1", "three")
    failure = run(work, debug=True)
    assert (failure.fault.code, failure.fault.type) == (500, "TypeError")
    assert (
        failure.fault.message == "The result of work does not fit its annotation: Expected `int`, got `str` at result."
    )


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


def test_the_service_is_the_home_of_its_request_while_the_function_runs() -> None:
    told: list[str] = []

    def wait(data: Any) -> None:
        work = current.get()
        assert work is not None
        work.home.about_to_wait("other")

    invoker(wait, told=told.append).run(job(), uuid_and_result)
    assert told == ["other"] and current.get() is None


def test_a_variable_that_a_function_sets_is_gone_in_the_next_request() -> None:
    seen: ContextVar[int] = ContextVar("seen", default=0)

    def work(data: Any) -> int:
        seen.set(seen.get() + 1)
        return seen.get()

    assert [run(work), run(work)] == [("u-1", 1), ("u-1", 1)]


def test_a_function_gets_the_request_if_its_second_parameter_asks_for_it() -> None:
    def work(data: int, about: macaque.Request) -> list[Any]:
        return [data, about.uuid, about.attempt, about.source, macaque.request.uuid]

    assert run(work, count=2, reply_to="response/ann") == ("u-1", [3, "u-1", 3, "ann", "u-1"])


def test_hooks_and_function_share_one_context() -> None:
    seen: ContextVar[list[str]] = ContextVar("seen")
    scope = Hooks()
    scope.add_before(lambda: seen.set([macaque.request.uuid]) and None)  # type: ignore[func-returns-value]
    scope.add_after(lambda reply: macaque.Reply([*seen.get(), reply.data]))

    def work(data: Any) -> Any:
        seen.get().append("work")
        return data

    assert hooked(work, scope) == ("u-1", ["u-1", "work", 3])
    with pytest.raises(LookupError):
        seen.get()


def test_a_function_before_may_give_the_result_or_abort() -> None:
    called: list[Any] = []
    scope = Hooks()
    scope.add_before(lambda: "closed today")
    assert hooked(called.append, scope) == ("u-1", "closed today")
    scope = Hooks()
    scope.add_before(lambda: macaque.abort(401, "who are you?"))
    assert hooked(called.append, scope).fault.code == 401
    assert called == []


def wants_a_number(number: int) -> Any:
    raise KeyError(number)


@pytest.mark.parametrize(
    "function, data, code, undecodable",
    [
        (wants_a_number, b"3", 500, False),
        (wants_a_number, b'"three"', 400, False),
        (len, b"1e999", 400, True),
    ],
)
def test_functions_after_see_every_error(
    function: Callable[..., Any], data: bytes, code: int, undecodable: bool
) -> None:
    seen: list[Any] = []
    scope = Hooks()
    scope.add_after(lambda reply: seen.append(reply.error and reply.error.code))  # type: ignore[func-returns-value]
    failure = hooked(function, scope, msgspec.Raw(data))
    assert (failure.fault.code, failure.undecodable, seen) == (code, undecodable, [code])


def test_a_function_after_may_replace_an_error_and_its_own_error_is_one_too() -> None:
    def fails(data: Any) -> None:
        macaque.abort(404, "no such task")

    scope = Hooks()
    scope.add_after(lambda reply: macaque.Reply(error=macaque.RemoteError(418, "a teapot", details=[1])))
    fault = hooked(fails, scope).fault
    assert (fault.code, fault.message, fault.details) == (418, "a teapot", [1])
    scope.after[:] = [lambda reply: macaque.Reply("mended")]
    assert hooked(fails, scope) == ("u-1", "mended")
    scope.after[:] = [lambda reply: 7]  # type: ignore[list-item, return-value]
    assert hooked(fails, scope).fault.type == "TypeError"


def test_an_exception_goes_to_its_handler_and_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    scope = Hooks()
    scope.add_handler(ZeroDivisionError, lambda error: f"handled {error}")
    assert hooked(lambda data: data // 0, scope)[1].startswith("handled integer division")
    assert caplog.records == []
    scope.add_handler(KeyError, lambda error: macaque.abort(404, f"no {error}"))
    assert hooked(lambda data: {}[data], scope).fault.message == "no 3"
    assert hooked(lambda data: exit(3), scope).exit.code == 3
