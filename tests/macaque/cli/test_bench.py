from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
import macaque.testing
from commands import Command
from macaque.cli.bench import Load
from processes import Server


@pytest.fixture
def app(shared_server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=shared_server.url)
    app.service("echo", credit=50)(lambda data: data)
    with app:
        yield app


def test_bench_prints_the_rate_and_the_times_of_the_calls(shared_server: Server, app: macaque.Server) -> None:
    done = Command("bench", "echo", '{"word": "one"}', "--calls", "500", "--in-flight", "20", broker=shared_server.url)
    assert (done.code, done.err) == (0, "")
    first, *times = done.out.splitlines()[:5]
    assert re.fullmatch(r"500 calls in \d+\.\d\d s: \d+ calls/s", first)
    assert [line.split()[0] for line in times] == ["p50", "p90", "p99", "longest"]
    rows = re.findall(r"^ *< [\d.]+ ms +(\d+)", done.out, re.MULTILINE)
    assert sum(map(int, rows)) == 500


def test_bench_prints_json_for_programs(shared_server: Server, app: macaque.Server) -> None:
    done = Command("bench", "echo", "--calls", "50", "--json", broker=shared_server.url)
    figures = json.loads(done.out)
    assert figures["calls"] == 50 and figures["errors"] == {} and figures["rate"] > 0
    assert figures["p50"] <= figures["p90"] <= figures["p99"] <= figures["longest"]


def test_bench_of_a_topic_without_a_service_is_one_line(shared_server: Server) -> None:
    assert "No service listens on the topic 'nobody'" in Command("bench", "nobody", broker=shared_server.url).failed(1)


def test_calls_that_fail_are_counted_by_their_error_and_all_calls_end() -> None:
    app = macaque.Server()

    @app.service("odd")
    def odd(data: Any) -> None:
        seen.append(data)
        if len(seen) % 2:
            macaque.abort(404, "odd")

    seen: list[Any] = []
    with macaque.testing.client(app) as client:
        load, told = Load(client, "odd", 1, 101), list[int]()
        load.run(10, told.append)
    assert len(seen) == 101 and load.errors == {"code 404": 51} and len(load.times) == 50
    assert sum(told) == 101 and load.figures()["errors"] == {"code 404": 51}
