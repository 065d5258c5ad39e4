from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from mqlight.functions import name_of, unrun


def plain(data: Any) -> Any:
    return data


def generator(data: Any) -> Any:
    yield data


async def coroutine(data: Any) -> Any:
    return data


async def stream(data: Any) -> Any:
    yield data


class Handler:
    async def __call__(self, data: Any) -> Any:
        return data

    def plain(self, data: Any) -> Any:
        return data

    @classmethod
    def generator(cls, data: Any) -> Any:
        yield data


@pytest.mark.parametrize(
    "function", [plain, Handler().plain, functools.partial(plain), functools.cache(plain), len, dict]
)
def test_a_plain_function_runs(function: Callable[..., Any]) -> None:
    assert unrun(function) is None


def test_a_plain_function_around_an_async_one_runs() -> None:
    @functools.wraps(coroutine)
    def run(data: Any) -> Any:
        return data

    assert unrun(run) is None


@pytest.mark.parametrize(
    "function, kind",
    [
        (coroutine, "async"), (stream, "async"), (functools.partial(coroutine), "async"), (Handler(), "async"),
        (functools.cache(coroutine), "async"), (generator, "a generator"), (Handler.generator, "a generator"),
        (functools.partial(functools.partial(generator)), "a generator"),
    ],
)  # fmt: skip
def test_a_function_whose_call_runs_nothing_is_named_by_its_kind(function: Callable[..., Any], kind: str) -> None:
    assert unrun(function) == kind


@pytest.mark.parametrize("function", [plain, Handler().plain])
def test_a_plain_function_or_method_is_known_at_a_glance(function: Callable[..., Any]) -> None:
    calls: list[str] = []

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            calls.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        unrun(function)
    finally:
        sys.setprofile(before)
    assert calls == ["unrun"]


def test_an_error_names_a_function_or_shows_an_object_without_a_name() -> None:
    assert name_of(plain) == "plain"
    assert name_of(functools.partial(plain)).startswith("functools.partial(")
