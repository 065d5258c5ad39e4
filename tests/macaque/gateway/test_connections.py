from __future__ import annotations

import io
import socket
from typing import Any

import gevent
import pytest
from gevent import socket as green

from macaque.gateway.connections import Body, watch
from macaque.http.answer import Problem


def pair() -> tuple[green.socket, socket.socket]:
    one, other = socket.socketpair()
    return green.socket(one.family, one.type, fileno=one.detach()), other


def test_a_body_is_read_as_it_comes() -> None:
    body = Body(io.BytesIO(b"abc"), 10)
    assert (body.read(2), body.read(2), body.read()) == (b"ab", b"c", b"")


def test_a_slow_body_is_a_408() -> None:
    class Slow:
        def read(self, size: int) -> bytes:
            gevent.sleep(10)
            return b"late"

    with pytest.raises(Problem, match="did not come within 0.05 seconds") as raised:
        Body(Slow(), 0.05).read(1)
    assert raised.value.status == 408


def test_the_end_of_a_caller_is_noticed() -> None:
    here, there = pair()
    told: list[Any] = []
    with here, there:
        stop = watch({"gunicorn.socket": here}, lambda: told.append("gone"))
        gevent.sleep(0.01)
        assert not told
        there.close()
        with gevent.Timeout(5):
            while not told:
                gevent.sleep(0.001)
        stop()
    assert told == ["gone"]


def test_a_caller_that_sends_more_is_not_gone() -> None:
    here, there = pair()
    told: list[Any] = []
    with here, there:
        stop = watch({"gunicorn.socket": here}, lambda: told.append("gone"))
        there.sendall(b"GET")
        gevent.sleep(0.05)
        assert not told and here.recv(3) == b"GET"
        stop()
    watch({}, lambda: told.append("gone"))()
    assert not told
