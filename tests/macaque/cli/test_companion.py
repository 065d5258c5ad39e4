from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

import macaque
from macaque.cli.companion import Companion
from processes import ROOT, Spawn, wait_until

SERVER = ["mqlight.server", "--port", "0", "--no-console"]
PARENT = """
import sys, time
from macaque.cli.companion import Companion
with Companion("mqlight.server", "--port", "0", "--no-console") as server:
    server.wait_ready()
    server.watch(lambda code: print("ended with", code, flush=True))
    print("watched", flush=True)
    time.sleep(60)
"""


def refused(url: str) -> bool:
    """Return whether nobody listens at a URL."""
    host, _, port = url.rpartition("/")[2].rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


@pytest.fixture(autouse=True)
def source_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))


def test_a_server_can_be_called_until_it_is_closed(capsys: pytest.CaptureFixture[str]) -> None:
    with Companion(*SERVER) as server:
        url = server.wait_ready()
        assert capsys.readouterr().out == f"mqlight server ready at {url}\n"
        with macaque.Client(broker=url) as client, pytest.raises(macaque.NoResponders):
            client.call("nobody", None).result()
    assert refused(url)
    server.close()


def test_a_server_that_cannot_start_ends_the_command_with_its_exit_code() -> None:
    with Companion(*SERVER, "--tls-key", "key.pem") as server, pytest.raises(SystemExit) as caught:
        server.wait_ready()
    assert caught.value.code == 2


def test_the_end_of_the_server_is_told_unless_it_was_closed() -> None:
    told: list[int] = []
    heard = threading.Event()

    def on_end(code: int) -> None:
        told.append(code)
        heard.set()

    with Companion(*SERVER) as server:
        server.wait_ready()
        server.watch(on_end)
        server._process.send_signal(signal.SIGKILL)
        assert heard.wait(20) and told == [-signal.SIGKILL]
    threads = threading.enumerate()
    with Companion(*SERVER) as server:
        server.wait_ready()
        server.watch(on_end)
    for thread in set(threading.enumerate()) - set(threads):
        thread.join(20)
    assert len(told) == 1


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ends_with_its_parent(spawn: Spawn, tmp_path: Path, end: signal.Signals) -> None:
    parent = spawn(["-c", PARENT], ready="watched")
    url = parent.expect(r"ready at (\S+)$")[1]
    parent.signal(end)
    wait_until(lambda: refused(url), what="the end of the server")


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(spawn: Spawn) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, lambda *_: print('interrupted', flush=True))"
    parent = spawn(["-c", f"{ignoring}\n{PARENT}"], ready="watched")
    url = parent.expect(r"ready at (\S+)$")[1]
    os.killpg(parent.pid, signal.SIGINT)
    parent.expect("interrupted")
    with macaque.Client(broker=url) as client, pytest.raises(macaque.NoResponders):
        client.call("nobody", None).result()
    assert "ended" not in parent.log()
