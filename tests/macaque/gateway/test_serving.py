"""The process of a gateway: many streams, dying workers, and figures."""

from __future__ import annotations

import os
import re
import resource
import selectors
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

import macaque
from fronts import TOKEN, Front, StartFront
from macaque.gateway.serving import url_of
from processes import Server, wait_until
from shops import Shop

STREAMS = 1000
REQUEST = b"GET %b HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


def open_streams(front: Front, path: bytes, count: int, stack: ExitStack) -> list[socket.socket]:
    opened = []
    for _ in range(count):
        opened.append(stack.enter_context(socket.create_connection((front.host, front.port), timeout=60)))
        opened[-1].sendall(REQUEST % path)
    return opened


def read_until(opened: list[socket.socket], wanted: bytes) -> None:
    """Read from all sockets until each has received the bytes."""
    received = dict.fromkeys(opened, b"")
    with selectors.DefaultSelector() as selector:
        for each in opened:
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(60)
            assert ready, f"{len(selector.get_map())} streams have not received {wanted!r}"
            for key, _ in ready:
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                assert data, received[key.fileobj]  # type: ignore[index]
                received[key.fileobj] += data  # type: ignore[index]
                if wanted in received[key.fileobj]:  # type: ignore[index]
                    selector.unregister(key.fileobj)


@pytest.fixture
def many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))


def test_a_thousand_streams_are_held_and_end_with_their_callers(
    shared_server: Server, shop: Shop, start_front: StartFront, many_files: None
) -> None:
    """A half are streams of a service, and a half hear messages."""
    options = ("--allow", "shop/#", "--subscribe", "news/#", "--streams", str(STREAMS), "--calls", "1000")
    front = start_front(shared_server.url, *options)
    wait_until(lambda: front.ask("GET", "/shop/list").status == 200, what="the services")
    shop.forget()
    with ExitStack() as stack:
        ticks = open_streams(front, b"/shop/ticks", STREAMS // 2, stack)
        read_until(ticks, b"\ndata: 1\n\n")
        news = open_streams(front, b"/news/sport", STREAMS // 2, stack)
        read_until(news, b":\n\n")
        assert front.ask("GET", "/news/sport", Accept="text/event-stream").status == 503
        assert front.call("shop/list", 1).body == ["fish", 1]
        with macaque.Client(shared_server.url) as client:
            client.notify("news/sport", "goal").result()
        read_until(news, b'{"topic":"news/sport","data":"goal"}')
        assert not shop.ended.acquire(blocking=False)
    for _ in range(STREAMS // 2):
        assert shop.ended.acquire(timeout=30), "a generator goes on, although its caller is gone"

    def is_unheard() -> bool:
        return isinstance(client.notify("news/sport", 1).exception(), macaque.NoResponders)

    with macaque.Client(shared_server.url) as client:
        wait_until(is_unheard, what="the end of the subscription")
    with front.events("/news/sport"):
        pass
    assert front.process.stop() == 0


def worker_of(front: Front) -> int:
    """Return the process that serves, which is a child of the one that was started."""
    children = f"/proc/{front.process.pid}/task/{front.process.pid}/children"
    if not os.path.exists(children):
        pytest.skip("this system does not tell the children of a process")
    with open(children) as file:
        return int(file.read().split()[0])


def test_a_killed_worker_is_replaced_and_knows_the_last_good_tokens(
    shared_server: Server, shop: Shop, start_front: StartFront, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"ann {TOKEN}\n")
    front = start_front(shared_server.url, "--allow", "shop/#", "--tokens", str(file))
    other = TOKEN + "-of-bob"
    wait_until(lambda: answers(front, TOKEN), what="the services")
    file.write_text(f"bob {other}\n")
    wait_until(lambda: answers(front, other), what="the changed file")
    wait_until(lambda: front.process.log().count("has changed") == 2, what="the change in both processes")
    file.write_text("nonsense\n")
    wait_until(lambda: front.process.log().count("cannot be used") >= 1, what="the broken file")
    os.kill(worker_of(front), signal.SIGKILL)
    wait_until(lambda: answers(front, other), what="the new worker")
    assert not answers(front, TOKEN)
    front.process.signal(signal.SIGINT)
    assert front.process.wait() == 0


def answers(front: Front, token: str) -> bool:
    try:
        return front.call("shop/list", Authorization=f"Bearer {token}").status == 200
    except OSError:
        return False


def test_the_health_port_has_the_figures_of_the_calls(
    shared_server: Server, shop: Shop, start_front: StartFront
) -> None:
    front = start_front(shared_server.url, "--allow", "shop/#", "--health-port", "0")
    port = int(front.process.expect(r"health of .* at http://127.0.0.1:(\d+)/")[1])
    wait_until(lambda: front.call("shop/list").status == 200, what="the services")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
        opened.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b""
        while data := opened.recv(65536):
            text += data
    assert (
        re.search(rb'macaque_gateway_requests_total\{status="200"\} \d', text) and b"macaque_gateway_streams 0" in text
    )
    found = re.search(rb'macaque_calls_total\{code="ok"\} (\d+)', text)
    assert found and int(found[1]) >= 1, text.decode()


def test_the_log_has_a_line_for_each_request(shared_server: Server, shop: Shop, start_front: StartFront) -> None:
    front = start_front(shared_server.url, "--allow", "shop/#", "--log-level", "debug", "--log-format", "json")
    front.call("shop/none", {"password": "hidden"})
    front.process.expect(r'"message": "POST /shop/none 404 [\d.]+ ms, anyone at 127.0.0.1"')
    assert "hidden" not in front.process.log()


def test_the_url_of_a_socket_can_be_opened() -> None:
    assert url_of(("0.0.0.0", 80)) == "http://127.0.0.1:80/"
    assert url_of(("::", 80, 0, 0)) == "http://[::1]:80/"
