from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

import pytest

from macaque.envelope import Fault, Request, encode_fault
from macaque.errors import Abort
from macaque.faults import EXIT, fault_of, wanted_exit


class Silent(Exception):
    """An exception whose text is none."""

    def __str__(self) -> Any:
        return None


class Deadly(Exception):
    def __str__(self) -> str:
        raise SystemExit("not now")


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise MemoryError


class Hostile(BaseException, metaclass=Nameless):
    pass


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    "error, kind, message",
    [
        (KeyError("word"), "KeyError", "'word'"),
        (asyncio.CancelledError("stop"), "CancelledError", "stop"),
        (concurrent.futures.CancelledError(), "CancelledError", ""),
        (GeneratorExit(), "GeneratorExit", ""),
        (RecursionError("too deep"), "RecursionError", "too deep"),
        (Silent(), "Silent", "(its text cannot be read)"),
        (Deadly(), "Deadly", "(its text cannot be read)"),
        (ValueError("\ud800"), "ValueError", "\\ud800"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_whatever_is_raised_is_a_fault_that_can_be_sent(
    error: BaseException, kind: str, message: str, debug: bool
) -> None:
    fault = fault_of(raised(error), debug)
    assert (fault.code, fault.type, fault.message, fault.retryable) == (500, kind, message, False)
    assert (fault.traceback is not None and kind in fault.traceback) == debug
    encode_fault(Request("u", 1, "response/me"), fault)


def test_an_error_that_cannot_be_described_at_all_is_a_fault_as_well() -> None:
    fault = fault_of(raised(Hostile()))
    assert (fault.code, fault.type) == (500, "BaseException")
    assert "cannot be described" in fault.message


class Liar(Exception):
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise ValueError


def test_an_error_that_does_not_tell_its_class_is_a_fault_and_no_exit() -> None:
    assert wanted_exit(raised(Liar())) is None
    assert fault_of(raised(Liar())).code == 500


def test_an_abort_is_the_fault_that_it_says() -> None:
    assert fault_of(Abort(404, "no such task", [7], True)) == Fault(404, "no such task", None, [7], True)


@pytest.mark.parametrize("error, status", [(SystemExit(3), 3), (SystemExit("bye"), "bye"), (KeyboardInterrupt(), 130)])
def test_an_exit_has_a_code_of_its_own(error: BaseException, status: object) -> None:
    fault, wanted = fault_of(error), wanted_exit(error)
    assert (fault.code, fault.type) == (EXIT, type(error).__name__)
    assert wanted is not None and wanted.code == status
    assert wanted_exit(KeyError()) is None
