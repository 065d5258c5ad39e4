from __future__ import annotations

import functools
from typing import Any

import pytest

from macaque.kinds import Kind
from macaque.registry import MAX_CREDIT, Registry


def echo(data: Any) -> Any:
    return data


def other(data: Any) -> Any:
    return data


def test_services_come_in_the_order_in_which_they_were_added() -> None:
    registry = Registry()
    added = [registry.add(name, None, 5, echo) for name in ("b", "a", "c")]
    assert list(registry) == added
    assert len(registry) == 3


def test_one_endpoint_may_be_served_under_different_shares() -> None:
    registry = Registry()
    names = [registry.add("words", share, 5, echo).name for share in (None, "python", "node")]
    assert names == ["words", "words (share python)", "words (share node)"]


@pytest.mark.parametrize("share_id", [None, "python"])
def test_the_same_endpoint_and_share_twice_is_refused_and_both_functions_named(share_id: str | None) -> None:
    registry = Registry()
    first = registry.add("words", share_id, 5, echo)
    with pytest.raises(ValueError, match=r"is echo already: give other another topic or share_id"):
        registry.add("words", share_id, 5, other)
    assert list(registry) == [first]


@pytest.mark.parametrize(
    "endpoint, kind, said",
    [
        (None, TypeError, "None is not a str"),
        (7, TypeError, "7 is not a str"),
        (echo, TypeError, r"write @app.service\('my/topic'\)"),
        ("", ValueError, "empty"),
        ("x" * 20_000, ValueError, "limit"),
        ("\ud800", ValueError, "surrogate"),
    ],
)
def test_an_endpoint_that_is_no_topic_is_refused(endpoint: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        Registry().add(endpoint, None, 5, echo)


@pytest.mark.parametrize("endpoint", ["/todo/api/v1.0/tasks", "a/+/b", "logs/#", "grüße/日本", "with space"])
def test_any_topic_or_pattern_is_an_endpoint(endpoint: str) -> None:
    assert Registry().add(endpoint, None, 5, echo).topic == endpoint


@pytest.mark.parametrize(
    "share_id, kind", [(7, TypeError), (b"x", TypeError), ("", ValueError), ("a:b", ValueError), ("a\n", ValueError)]
)
def test_a_share_id_that_cannot_be_one_is_refused(share_id: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="share_id"):
        Registry().add("words", share_id, 5, echo)


@pytest.mark.parametrize(
    "credit, kind",
    [(0, ValueError), (-1, ValueError), (MAX_CREDIT + 1, ValueError), (2.5, TypeError), (True, TypeError),
     ("5", TypeError)],
)  # fmt: skip
def test_a_credit_that_cannot_be_one_is_refused(credit: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="credit"):
        Registry().add("words", None, credit, echo)


def test_a_function_that_takes_no_argument_is_refused_with_its_signature() -> None:
    def nothing() -> None: ...

    with pytest.raises(TypeError, match=r"nothing\(\).* does not take one argument"):
        Registry().add("words", None, 5, nothing)  # type: ignore[arg-type]


def test_a_function_that_needs_two_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match="does not take one argument, the data of the request"):
        Registry().add("words", None, 5, lambda first, second: None)

    def two(first: Any, second: int) -> None: ...

    with pytest.raises(TypeError, match="write second: macaque.Request"):
        Registry().add("words", None, 5, two)


async def later(data: Any) -> Any: ...


async def many_later(data: Any) -> Any:
    yield data


def many(data: Any) -> Any:
    yield data


class Handler:
    async def __call__(self, data: Any) -> Any: ...
    async def later(self, data: Any) -> Any: ...
    def many(self, data: Any) -> Any:
        yield data

    @staticmethod
    async def static(data: Any) -> Any: ...
    @classmethod
    async def of_class(cls, data: Any) -> Any: ...


class Many:
    def __call__(self, data: Any) -> Any:
        yield data


@pytest.mark.parametrize(
    "function",
    [
        later,
        Handler(),
        Handler().later,
        Handler.static,
        Handler.of_class,
        functools.partial(later),
        functools.partial(Handler()),
        functools.lru_cache(later),
    ],
)
def test_async_functions_are_functions(function: Any) -> None:
    assert Registry().add("words", None, 5, function).kind is Kind.COROUTINE


@pytest.mark.parametrize(
    "function",
    [
        many_later,
        many,
        Handler().many,
        Many(),
        functools.partial(many),
        functools.partial(functools.partial(Handler().many)),
    ],
)
def test_generators_are_functions(function: Any) -> None:
    assert Registry().add("words", None, 5, function).kind.streams


class Plain:
    def __call__(self, data: Any) -> Any:
        return data


@pytest.mark.parametrize("function", [Plain(), functools.partial(Plain()), functools.lru_cache(len), Plain().__call__])
def test_objects_and_partials_of_plain_functions_are_functions(function: Any) -> None:
    assert Registry().add("words", None, 5, function).function is function


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="not a function"):
        Registry().add("words", None, 5, "echo")  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [len, str, lambda data, more=1: data, lambda *data: data, echo.__call__])
def test_anything_that_can_be_called_with_one_argument_is_a_function(function: Any) -> None:
    assert Registry().add("words", None, 5, function).function is function


@pytest.mark.parametrize(
    "options, kind, said",
    [
        ({"max_deliveries": 0}, ValueError, "max_deliveries 0 is not between 1"),
        ({"max_deliveries": "5"}, TypeError, "max_deliveries '5' is not an int"),
        ({"ttl": -1}, ValueError, "ttl -1 is not between 0"),
        ({"ttl": 31 * 86400}, ValueError, "ttl 2678400 is not between"),
        ({"ttl": 1.5}, TypeError, "ttl 1.5 is not an int"),
        ({"idempotent_for": 0}, ValueError, "idempotent_for 0 is not between"),
        ({"idempotent_for": "60"}, TypeError, "idempotent_for '60' is not a number"),
        ({"timeout": 0}, ValueError, "timeout 0 is not between"),
        ({"timeout": float("nan")}, ValueError, "timeout nan is not between"),
        ({"timeout": True}, TypeError, "timeout True is not a number"),
        ({"safe": "GET"}, TypeError, "safe 'GET' is not a bool"),
    ],
)
def test_an_option_that_cannot_work_is_refused(options: dict[str, Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        Registry().add("work", "w", 5, echo, **options)


@pytest.mark.parametrize("share, ttl, kept", [("w", None, 86400), (None, None, 0), ("w", 0, 0), (None, 60, 60)])
def test_a_shared_service_is_kept_for_a_day_unless_told_otherwise(
    share: str | None, ttl: int | None, kept: int
) -> None:
    assert Registry().add("work", share, 5, echo, ttl=ttl).ttl == kept


def test_an_endpoint_whose_dead_letters_would_have_no_topic_is_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        Registry().add("x" * 10_230, None, 5, echo)
