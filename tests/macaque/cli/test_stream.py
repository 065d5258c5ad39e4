from __future__ import annotations

from collections.abc import Iterator

import pytest

import macaque
from commands import Command
from processes import Server


@pytest.fixture
def app(shared_server: Server) -> Iterator[macaque.Server]:
    app = macaque.Server(broker=shared_server.url)

    @app.service("count")
    def count(number: int) -> Iterator[dict[str, int]]:
        for each in range(number):
            if each == 100:
                macaque.abort(404, "no more")
            yield {"n": each}

    with app:
        yield app


def test_each_part_is_a_line(shared_server: Server, app: macaque.Server) -> None:
    done = Command("stream", "count", "3", broker=shared_server.url)
    assert (done.code, done.out, done.err) == (0, '{"n":0}\n{"n":1}\n{"n":2}\n', "")
    done = Command("stream", "count", "50", "--count", "2", broker=shared_server.url)
    assert (done.code, done.out) == (0, '{"n":0}\n{"n":1}\n')


def test_an_error_comes_after_the_parts(shared_server: Server, app: macaque.Server) -> None:
    done = Command("stream", "count", "200", broker=shared_server.url)
    assert done.code == 1 and done.out.count("\n") == 100 and done.err == "macaque: no more (code 404)\n"
    assert "No service listens on the topic 'nobody'" in Command("stream", "nobody", broker=shared_server.url).failed(1)
