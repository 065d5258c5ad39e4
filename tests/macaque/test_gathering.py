"""Calls that take several replies."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import macaque
from macaque import metrics
from macaque.calls import Calls
from processes import Server, Spawn, wait_until


@pytest.fixture
def client(server: Server) -> Iterator[macaque.Client]:
    with macaque.Client(broker=server.url, timeout=10.0) as client:
        yield client


@pytest.fixture
def serve(server: Server) -> Iterator[Callable[..., macaque.Server]]:
    """Serve a function on the topic `word`: `serve(function, share_id)`."""
    apps: list[macaque.Server] = []

    def start(function: Callable[[Any], Any], share_id: str | None = None) -> macaque.Server:
        app = macaque.Server(broker=server.url)
        app.service("word", share_id=share_id)(function)
        app.connect()
        apps.append(app)
        return app

    yield start
    for app in apps:
        app.close()


def refuse(data: Any) -> Any:
    macaque.abort(404, f"no such word as {data}")


def test_every_share_and_every_service_without_one_answers_once(client: macaque.Client, serve: Any) -> None:
    for share in ("one", "one", "two", None, None):
        serve(lambda data, share=share: [share, data], share)
    found = client.gather("word", "fish", replies=4).result(10.0)
    assert sorted(found, key=str) == sorted([["one", "fish"], ["two", "fish"], [None, "fish"], [None, "fish"]], key=str)


def test_it_ends_by_its_deadline_with_what_came(client: macaque.Client, serve: Any) -> None:
    serve(str.upper, "one")
    serve(str.title, "two")
    call = client.gather("word", "fish", timeout=0.5)
    assert not call.done()
    assert sorted(call.result(10.0)) == ["FISH", "Fish"]
    assert call.exception() is None and call.done()


def test_it_ends_at_once_with_the_number_of_replies_that_was_asked_for(client: macaque.Client, serve: Any) -> None:
    serve(str.upper, "one")
    serve(str.title, "two")
    told: list[str] = []
    call = client.gather("word", "fish", told.append, timeout=60, replies=1)
    assert call.result(10.0) in (["FISH"], ["Fish"])
    assert client.call("word", "later").result() in ("LATER", "Later")
    wait_until(lambda: told == call.result())


def test_an_answer_that_is_an_error_is_one_of_the_answers(client: macaque.Client, serve: Any) -> None:
    serve(str.upper, "one")
    serve(refuse, "two")
    data, errors = [], []
    call = client.gather("word", "fish", data.append, on_error=errors.append, replies=2)
    found = call.result(10.0)
    assert "FISH" in found and len(found) == 2
    (error,) = [each for each in found if isinstance(each, macaque.RemoteError)]
    assert (error.code, error.message) == (404, "no such word as fish")
    wait_until(lambda: (data, errors) == (["FISH"], [error]))


def test_an_error_that_nobody_wants_to_hear_is_logged(
    client: macaque.Client, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serve(refuse)
    with caplog.at_level(logging.ERROR, "macaque"):
        client.gather("word", "fish", print, replies=1).result(10.0)
        wait_until(lambda: "the call of 'word' failed: no such word as fish (code 404)" in caplog.text)


def test_each_answer_is_told_when_it_comes(client: macaque.Client, serve: Any) -> None:
    go = threading.Event()
    serve(str.upper, "quick")
    serve(lambda data: go.wait(20.0) and data, "slow")
    told: list[str] = []
    call = client.gather("word", "fish", told.append, replies=2)
    wait_until(lambda: told == ["FISH"])
    assert not call.done()
    go.set()
    wait_until(lambda: told == ["FISH", "fish"])
    assert call.result(10.0) == ["FISH", "fish"]


def test_without_any_answer_it_ends_as_a_call_does(client: macaque.Client, serve: Any) -> None:
    errors: list[Exception] = []
    with pytest.raises(macaque.NoResponders):
        client.gather("word", "fish", on_error=errors.append).result(10.0)
    wait_until(lambda: [type(error) for error in errors] == [macaque.NoResponders])
    go = threading.Event()
    serve(lambda data: go.wait(20.0))
    with pytest.raises(macaque.Timeout, match=r"No reply from 'word' within 0\.3 s"):
        client.gather("word", "fish", timeout=0.3).result(10.0)
    go.set()


def test_closing_the_client_ends_it_with_what_came(client: macaque.Client, serve: Any) -> None:
    serve(str.upper)
    told: list[str] = []
    call = client.gather("word", "fish", told.append, timeout=60)
    wait_until(lambda: told == ["FISH"])
    client.close()
    assert call.result(0) == ["FISH"]


def test_when_too_many_are_kept_the_oldest_end_early(
    server: Server, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Calls.__init__.__kwdefaults__, "kept", 5)
    serve(str.upper)
    with macaque.Client(broker=server.url) as client:
        calls = [client.gather("word", "fish", timeout=30 + second) for second in range(20)]
        assert [call.result(10.0) for call in calls[:15]] == [["FISH"]] * 15
        assert not any(call.done() for call in calls[15:])


def test_the_first_answer_makes_room_for_the_next_call(server: Server, serve: Any) -> None:
    serve(str.upper)
    with macaque.Client(broker=server.url) as client:
        client._calls._pending._maximum = 1
        began = time.monotonic()
        calls = [client.gather("word", "fish", timeout=30) for _ in range(10)]
        assert time.monotonic() - began < 10
        assert not any(call.done() for call in calls)
        client.close()
        assert [call.result(0) for call in calls[:-1]] == [["FISH"]] * 9


def test_metrics_count_a_gathering_at_its_first_answer(server: Server, serve: Any) -> None:
    serve(str.upper)
    with macaque.Client(broker=server.url) as client:
        metrics.observe(client, registry := CollectorRegistry())
        client.gather("word", "fish", timeout=30)
        wait_until(lambda: registry.get_sample_value("macaque_calls_total", {"code": "ok"}) == 1.0)


def test_a_process_stays_alive_for_its_answers(server: Server, serve: Any, spawn: Spawn) -> None:
    serve(str.upper, "one")
    serve(str.title, "two")
    code = "import macaque; macaque.Client().gather('word', 'fish', print, timeout=2)"
    process = spawn(["-c", code], env={"MACAQUE_BROKER": server.url})
    assert process.wait(20.0) == 0
    assert sorted(process.log().split()) == ["FISH", "Fish"]


@pytest.mark.parametrize(
    ("replies", "error"), [(0, ValueError), (1001, ValueError), (True, TypeError), (2.0, TypeError)]
)
def test_a_number_of_replies_that_cannot_be_is_refused(client: macaque.Client, replies: Any, error: type) -> None:
    with pytest.raises(error, match=str(replies)):
        client.gather("word", "fish", replies=replies)
