from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from macaque.kinds import Kind, kind_of, kind_of_result


def plain(data: Any) -> Any:
    return data


async def coroutine(data: Any) -> Any:
    return data


def generator(data: Any) -> Iterator[Any]:
    yield data


async def async_generator(data: Any) -> AsyncIterator[Any]:
    yield data


class Object:
    async def __call__(self, data: Any) -> Any:
        return data

    def method(self, data: Any) -> Iterator[Any]:
        yield data


def wrapped(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(function)
    def wrapper(data: Any) -> Any:
        return function(data)

    return wrapper


@pytest.mark.parametrize(
    "function, kind, streams",
    [
        (plain, Kind.PLAIN, False),
        (len, Kind.PLAIN, False),
        (coroutine, Kind.COROUTINE, False),
        (Object(), Kind.COROUTINE, False),
        (functools.partial(coroutine), Kind.COROUTINE, False),
        (generator, Kind.GENERATOR, True),
        (Object().method, Kind.GENERATOR, True),
        (async_generator, Kind.ASYNC_GENERATOR, True),
        (wrapped(coroutine), Kind.PLAIN, False),
    ],
)
def test_a_function_has_a_kind(function: Any, kind: Kind, streams: bool) -> None:
    assert kind_of(function) is kind
    assert kind.streams is streams


class Later:
    def __await__(self) -> Iterator[Any]:
        yield


@pytest.mark.parametrize(
    "make, kind",
    [
        (lambda: 1, Kind.PLAIN),
        (lambda: None, Kind.PLAIN),
        (lambda: wrapped(coroutine)(1), Kind.COROUTINE),
        (Later, Kind.COROUTINE),
        (lambda: wrapped(generator)(1), Kind.GENERATOR),
        (lambda: wrapped(async_generator)(1), Kind.ASYNC_GENERATOR),
    ],
)
def test_a_result_has_a_kind_whatever_the_decorator_hides(make: Callable[[], Any], kind: Kind) -> None:
    result = make()
    assert kind_of_result(result) is kind
    if isinstance(result, Awaitable) and hasattr(result, "close"):
        result.close()
