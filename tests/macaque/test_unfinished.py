"""Services that are `async def`, or whose functions return something to await."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

import macaque
from processes import Server, Spawn, wait_until

BOUND = 10.0


def serving(server: Server, **functions: Any) -> macaque.Server:
    app = macaque.Server(broker=server.url)
    for topic, function in functions.items():
        app.service(topic, credit=10)(function)
    return app


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Doubler:
    async def __call__(self, number: int) -> int:
        return await double(number)


def logged(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(function)
    def wrapper(data: Any) -> Any:
        return function(data)

    return wrapper


@pytest.mark.parametrize("function", [double, Doubler(), logged(double), functools.partial(double)])
def test_an_async_service_answers(shared_server: Server, client: macaque.Client, function: Any) -> None:
    with serving(shared_server, double=function):
        assert [client.call("double", number).result() for number in range(3)] == [0, 2, 4]


def test_async_services_run_on_one_loop_beside_plain_ones(shared_server: Server, client: macaque.Client) -> None:
    async def loop(_: Any) -> int:
        return id(asyncio.get_running_loop())

    def plain(_: Any) -> str:
        return threading.current_thread().name

    with serving(shared_server, one=loop, two=loop, plain=plain):
        ids = {client.call(topic, None).result() for topic in ("one", "two", "one")}
        assert len(ids) == 1
        assert "loop" not in client.call("plain", None).result()


def test_as_many_requests_run_at_once_as_the_service_has_credit(shared_server: Server, client: macaque.Client) -> None:
    most = running = 0
    full = asyncio.Event()

    async def work(_: Any) -> int:
        nonlocal most, running
        running += 1
        most = max(most, running)
        if running == 7:
            full.set()
        await asyncio.wait_for(full.wait(), BOUND)
        await asyncio.sleep(0.01)  # time for an eighth request to begin
        running -= 1
        return most

    app = macaque.Server(broker=shared_server.url)
    app.service("work", credit=7)(work)
    with app:
        calls = [client.call("work", None) for _ in range(50)]
        assert max(call.result() for call in calls) == 7


def test_an_exception_and_an_abort_reach_the_caller(shared_server: Server, client: macaque.Client) -> None:
    async def fail(_: Any) -> None:
        raise KeyError("no such word")

    async def abort(_: Any) -> None:
        macaque.abort(404, "no such word")

    async def unsendable(_: Any) -> Any:
        return object()

    with serving(shared_server, fail=fail, abort=abort, unsendable=unsendable):
        with pytest.raises(macaque.RemoteError, match=r"KeyError: 'no such word' \(code 500\)"):
            client.call("fail", None).result()
        with pytest.raises(macaque.RemoteError, match=r"no such word \(code 404\)"):
            client.call("abort", None).result()
        with pytest.raises(macaque.RemoteError, match="The result <object object .* cannot be sent as JSON"):
            client.call("unsendable", None).result()


def test_an_async_service_awaits_calls_within_its_time(shared_server: Server, client: macaque.Client) -> None:
    async def outer(number: int) -> Any:
        return await client.call("double", number) + 1

    async def rest(_: Any) -> Any:
        return macaque.request.topic, client.call("double", 1).timeout

    with serving(shared_server, outer=outer, double=double, rest=rest):
        assert client.call("outer", 4).result() == 9
        topic, timeout = client.call("rest", None, timeout=5.0).result()
        assert topic == "rest" and timeout <= 5.0


def test_each_request_has_a_context_of_its_own(shared_server: Server, client: macaque.Client) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def count(_: Any) -> int:
        variable.set(variable.get() + 1)
        await asyncio.sleep(0)
        return variable.get()

    with serving(shared_server, count=count):
        calls = [client.call("count", None) for _ in range(20)]
        assert {call.result() for call in calls} == {1}


def test_hooks_run_around_an_async_service(shared_server: Server, client: macaque.Client) -> None:
    app = serving(shared_server, fail=lambda data: logged(_fail)(data), double=double)
    seen: list[Any] = []

    @app.errorhandler(KeyError)
    def handle(error: KeyError) -> str:
        return f"handled {error}"

    @app.after_request
    def after(reply: Any) -> None:
        seen.append(reply.data)

    with app:
        assert client.call("fail", None).result() == "handled 'gone'"
        assert client.call("double", 3).result() == 6
    assert seen == ["handled 'gone'", 6]


async def _fail(_: Any) -> None:
    raise KeyError("gone")


def test_a_one_way_message_is_awaited_and_retried(shared_server: Server, client: macaque.Client) -> None:
    runs: list[int] = []
    done = threading.Event()

    async def remind(_: Any) -> None:
        await asyncio.sleep(0)
        runs.append(1)
        if len(runs) == 1:
            raise ConnectionError("the mail server is down")
        done.set()

    with serving(shared_server, remind=remind):
        client.notify("remind", None).result()
        assert done.wait(BOUND)
    assert len(runs) == 2


def test_exit_in_an_async_service_is_told_to_the_caller(shared_server: Server, client: macaque.Client) -> None:
    async def leave(_: Any) -> None:
        raise SystemExit(3)

    app = serving(shared_server, leave=leave)
    wanted: list[Any] = []
    app._exit = wanted.append  # type: ignore[method-assign]
    with app, pytest.raises(macaque.RemoteError, match=r"\(code exit\)"):
        client.call("leave", None).result()
    assert [error.code for error in wanted] == [3]


# Cancellation


class Waiting:
    """An async service that waits until it is cancelled."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.ended: list[str] = []

    async def __call__(self, data: Any) -> None:
        self.begun.release()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.append(f"{data} cancelled")
            raise


def test_a_cancelled_call_cancels_the_async_service(
    shared_server: Server, client: macaque.Client, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = Waiting()
    with serving(shared_server, waiting=waiting, double=double) as app:
        calls = [client.call("waiting", number) for number in range(3)]
        for _ in calls:
            assert waiting.begun.acquire(timeout=BOUND)
        assert calls[1].cancel()
        wait_until(lambda: waiting.ended, what="the cancelled request")
        assert waiting.ended == ["1 cancelled"]
        for call in calls:
            call.cancel()
        wait_until(lambda: not app._loop.busy, what="an idle loop")
        assert client.call("double", 1).result() == 2
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


def test_a_coroutine_that_is_cancelled_before_its_first_step_is_closed(
    shared_server: Server, client: macaque.Client
) -> None:
    """Otherwise Python warns that it was never awaited."""
    begun, go, made = threading.Event(), threading.Event(), list[Any]()

    async def block(_: Any) -> None:
        begun.set()
        go.wait(BOUND)

    def lazy(number: int) -> Any:
        made.append(double(number))
        return made[0]

    app = serving(shared_server, block=block, lazy=lazy)
    with app:
        client.call("block", None)
        assert begun.wait(BOUND)
        call = client.call("lazy", 1)
        (running,) = (worker._cancels._running for each, worker in app._workers.items() if each.topic == "lazy")
        wait_until(lambda: running, BOUND)
        call.cancel()
        wait_until(lambda: not running, BOUND)
        go.set()
        wait_until(lambda: inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED, BOUND)


def test_a_service_with_a_timeout_is_cancelled_then(shared_server: Server, client: macaque.Client) -> None:
    waiting = Waiting()
    app = macaque.Server(broker=shared_server.url)
    app.service("waiting", credit=1, timeout=0.1)(waiting)
    with app:
        for number in range(2):  # the place is free again
            with pytest.raises(macaque.RemoteError, match="waiting was not done within 0.1 s"):
                client.call("waiting", number).result()
        wait_until(lambda: len(waiting.ended) == 2, what="two cancelled requests")


def test_a_server_that_closes_drains_its_coroutines(shared_server: Server, client: macaque.Client) -> None:
    begun, go = threading.Event(), threading.Event()

    async def work(_: Any) -> str:
        begun.set()
        await asyncio.to_thread(go.wait, BOUND)
        return "done"

    app = serving(shared_server, work=work)
    app.connect()
    call = client.call("work", None)
    assert begun.wait(BOUND)
    closing = threading.Thread(target=app.close)
    closing.start()
    go.set()
    assert call.result() == "done"
    closing.join(BOUND)
    assert not closing.is_alive()


def test_a_server_without_time_cancels_its_coroutines(shared_server: Server, client: macaque.Client) -> None:
    waiting = Waiting()
    app = serving(shared_server, waiting=waiting)
    app.connect()
    client.call("waiting", 1)
    assert waiting.begun.acquire(timeout=BOUND)
    app.close(0.1)
    assert waiting.ended == ["1 cancelled"]


GEVENT = """
from gevent import monkey; monkey.patch_all()
import asyncio, gevent, macaque
app = macaque.Server()
@app.service("double")
async def double(number):
    await asyncio.sleep(0.01)
    return 2 * number
@app.service("count")
def count(limit):
    yield from range(limit)
ticks = 0
def tick():
    global ticks
    while True:
        gevent.sleep(0.001)
        ticks += 1
with app, macaque.Client(timeout=10) as client:
    ticking = gevent.spawn(tick)
    print(list(client.map("double", range(5))), sum(client.stream("count", 100)), ticks > 0)
    ticking.kill()
"""


def test_async_services_and_streams_run_on_greenlets(server: Server, spawn: Spawn) -> None:
    process = spawn(["-c", GEVENT], env={"MACAQUE_BROKER": server.url})
    assert process.wait(30) == 0
    assert process.log() == "[0, 2, 4, 6, 8] 4950 True\n"
