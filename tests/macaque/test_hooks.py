from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

import macaque
from macaque.hooks import Hooks, Pipeline, Reply
from processes import Server


def scopes(*names: str) -> tuple[list[str], list[Hooks]]:
    """Hooks that note when they run, two of a kind for each name."""
    told: list[str] = []

    def noting(name: str) -> Callable[..., None]:
        return lambda *args: told.append(name)

    made = []
    for name in names:
        hooks = Hooks()
        for number in "12":
            hooks.add_before(noting(f"before {name}{number}"))
            hooks.add_after(noting(f"after {name}{number}"))
        made.append(hooks)
    return told, made


def test_hooks_run_from_the_outside_to_the_inside_and_back() -> None:
    told, hooks = scopes("app", "child")
    pipeline = Pipeline(hooks)
    assert pipeline.begin() is None
    reply = Reply(3)
    assert pipeline.end(reply) is reply
    assert told == [
        "before app1", "before app2", "before child1", "before child2",
        "after child2", "after child1", "after app2", "after app1",
    ]  # fmt: skip


def test_the_first_value_of_a_function_before_ends_the_others() -> None:
    told, hooks = scopes("app", "child")
    hooks[0].add_before(lambda: 0)
    assert Pipeline(hooks).begin() == 0
    assert told == ["before app1", "before app2"]


def test_a_function_after_may_replace_the_reply_for_the_next_one() -> None:
    hooks = Hooks()
    hooks.add_after(lambda reply: Reply(reply.data * 10))
    hooks.add_after(lambda reply: Reply(reply.data + 1))
    assert Pipeline([hooks]).end(Reply(3)) == Reply(40)


def answer(text: str) -> Callable[[Exception], str]:
    return lambda error: text


def test_the_most_specific_handler_of_the_innermost_scope_gets_an_exception() -> None:
    app, child = Hooks(), Hooks()
    app.add_handler(KeyError, answer("app key"))
    app.add_handler(ZeroDivisionError, answer("app zero"))
    child.add_handler(Exception, answer("child any"))
    child.add_handler(LookupError, answer("child lookup"))
    pipeline = Pipeline([app, child])
    assert pipeline.handle(KeyError()) == "child lookup"
    assert pipeline.handle(ZeroDivisionError()) == "child any"
    assert Pipeline([app, Hooks()]).handle(KeyError()) == "app key"


def test_an_exception_in_a_handler_goes_to_the_handlers_further_out() -> None:
    app, child = Hooks(), Hooks()
    child.add_handler(KeyError, lambda error: {}["other"])
    app.add_handler(LookupError, lambda error: str(error))
    assert Pipeline([app, child]).handle(KeyError("first")) == "'other'"
    with pytest.raises(KeyError, match="other"):
        Pipeline([child]).handle(KeyError("first"))


def test_no_handler_gets_what_is_aborted_or_ends_the_process() -> None:
    hooks = Hooks()
    hooks.add_handler(Exception, answer("handled"))
    with pytest.raises(SystemExit):
        Pipeline([hooks]).handle(SystemExit(3))
    with pytest.raises(macaque.MacaqueError, match="no such task"):
        try:
            macaque.abort(404, "no such task")
        except Exception as error:
            Pipeline([hooks]).handle(error)


async def later() -> None: ...


@pytest.mark.parametrize(
    "add, said",
    [
        (lambda hooks: hooks.add_before(lambda data: None), "must take no argument, for @app.before_request"),
        (
            lambda hooks: hooks.add_after(lambda: None),
            "must take one argument, the macaque.Reply, for @app.after_request",
        ),
        (lambda hooks: hooks.add_handler(KeyError, lambda: None), "must take one argument, the exception"),
        (lambda hooks: hooks.add_handler(7, len), "7 is no class of exceptions: write @app.errorhandler"),
        (lambda hooks: hooks.add_handler(SystemExit, len), "is no class of exceptions"),
        (lambda hooks: hooks.add_before(later), "later is async, and the functions of @app.before_request are plain"),
        (lambda hooks: hooks.add_before("later"), "needs a function, not 'later'"),
    ],
)
def test_a_hook_that_cannot_work_is_refused(add: Callable[[Hooks], Any], said: str) -> None:
    hooks = Hooks()
    with pytest.raises(TypeError, match=said):
        add(hooks)
    assert not hooks


def test_the_reply_after_the_service_is_a_reply() -> None:
    hooks = Hooks()
    hooks.add_after(lambda reply: reply.data)
    with pytest.raises(TypeError, match="<lambda> returned int; return the macaque.Reply, or None"):
        Pipeline([hooks]).end(Reply(7))


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_service_and_its_hooks_share_one_context_of_each_request(shared_server: Server, kind: str) -> None:
    seen: ContextVar[list[str]] = ContextVar("seen")
    app = macaque.Server(shared_server.url)

    @app.before_request
    def before() -> None:
        assert seen.get(None) is None
        seen.set([macaque.request.topic])

    @app.after_request
    def after(reply: Reply) -> Reply:
        return Reply([*seen.get(), reply.data])

    @app.errorhandler(KeyError)
    def missing(error: KeyError) -> str:
        return f"no {error} in {seen.get()}"

    def plain(data: Any) -> str:
        seen.get().append("work")
        return {"tea": "found"}[data]

    async def in_loop(data: Any) -> str:
        await asyncio.sleep(0)
        return plain(data)

    app.service("hooked/work")(plain if kind == "def" else in_loop)
    with app, macaque.Client(shared_server.url, timeout=10.0) as client:
        for _ in range(2):
            assert client.call("hooked/work", "tea").result() == ["hooked/work", "work", "found"]
        missing_one = "no 'gin' in ['hooked/work', 'work']"
        assert client.call("hooked/work", "gin").result() == ["hooked/work", "work", missing_one]
