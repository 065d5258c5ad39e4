"""After a restart of the server everybody consumes again, by themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

import macaque
import mqlight
from faults.resilient import Resilient
from processes import Spawn, wait_until

NEWS = ["0/None", "0/share", "1/None", "1/share"]


def test_every_consumer_consumes_again_after_every_restart(
    forgetful: Resilient,
    spawn: Spawn,
    caller: Callable[[str], macaque.Client],
    recovered: Callable[[str, float], None],
) -> None:
    consumers = {
        name: spawn(["tests/faults/consumer.py", name], env={"MACAQUE_BROKER": forgetful.url})
        for name in ("threads", "gevent")
    }
    client = caller(forgetful.url)

    def consume(text: str, since: float) -> None:
        waiting = set(consumers)
        while waiting:
            for name in list(waiting):
                for news in NEWS:
                    publisher.send(f"{name}/news/{news}", text)
                calls = [client.call(f"{name}/{endpoint}", text) for endpoint in ("alone", "shared")]
                errors = [call.exception() for call in calls]
                log = consumers[name].log()
                if errors == [None, None] and all(f"got {text} on {news}" in log for news in NEWS):
                    waiting.discard(name)
                    recovered(f"the server was restarted ({name})", time.monotonic() - since)
                else:
                    assert time.monotonic() - since < 30, f"{name}: {errors}; it said:\n{log}"

    with mqlight.Client(forgetful.url) as publisher:
        for process in consumers.values():
            process.expect("serves .*shared")
        consume("at the beginning", time.monotonic())
        for restart in range(2):
            forgetful.kill()
            forgetful.start()
            consume(f"after restart {restart}", time.monotonic())
        forgetful.stop()
        logs = [process.log() for process in consumers.values()]
        for process, before in zip(consumers.values(), logs, strict=True):
            refusals = before.count("Connection refused") + 10
            wait_until(lambda: process.log().count("Connection refused") >= refusals, 30)  # noqa: B023
        forgetful.start()
        consume("after five attempts of each", time.monotonic())


def test_what_is_called_meanwhile_waits_and_then_the_caller_does(durable: Resilient) -> None:
    """A thousand messages are kept for a server that is away; who has more of them waits until their deadline."""
    app = macaque.Server(broker=durable.url)
    app.service("late", share_id="workers")(lambda number: number)
    with macaque.Client(broker=durable.url, timeout=60) as client:
        with app:
            assert client.call("late", -1).result() == -1
        durable.wait_until_kept("late")
        durable.kill()
        wait_until(lambda: not client.connected)
        calls = [client.call("late", number) for number in range(1000)]
        began = time.monotonic()
        with pytest.raises(macaque.ConnectionLost):
            client.call("late", "too much", timeout=0.3).result()  # if the clock ends it, before this thread awakes
        assert 0.25 < time.monotonic() - began < 5
        blocked = threading.Thread(target=lambda: calls.append(client.call("late", 1000)))
        blocked.start()
        durable.start()
        blocked.join(20)
        assert not blocked.is_alive() and not any(call.done() for call in calls)
        with app:
            assert [call.result() for call in calls] == list(range(1001))


def test_a_destination_that_is_deleted_while_the_server_is_away_is_deleted_when_it_is_back(durable: Resilient) -> None:
    told: list[str] = []
    with mqlight.Client(durable.url) as listener, macaque.Client(broker=durable.url) as client:
        listener.subscribe("t", "s", {"qos": 1, "ttl": 60_000}, lambda *_: told.append("subscribed"))
        wait_until(lambda: told)
        durable.kill()
        wait_until(lambda: listener.state == mqlight.RETRYING)
        listener.unsubscribe("t", "s", {"ttl": 0}, lambda *_: told.append("unsubscribed"))
        durable.start()
        wait_until(lambda: told == ["subscribed", "unsubscribed"])
        with pytest.raises(macaque.NoResponders):
            client.call("t", None).result()


def test_a_call_that_is_out_ends_by_its_deadline_though_the_server_is_gone(forgetful: Resilient) -> None:
    app = macaque.Server(broker=forgetful.url)
    asked, go_on = threading.Event(), threading.Event()

    @app.service("slow", share_id="workers")
    def slow(data: object) -> object:
        asked.set()
        go_on.wait(20)
        return data

    with app, macaque.Client(broker=forgetful.url) as client:
        call = client.call("slow", 1, timeout=1.5)
        began = time.monotonic()
        assert asked.wait(10)
        forgetful.kill()
        with pytest.raises((macaque.Timeout, macaque.ConnectionLost)):  # was it known that the request had arrived?
            call.result(10)
        assert time.monotonic() - began < 3
        go_on.set()
