from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from fronts import TOKEN, StartFront
from processes import Server


@pytest.mark.parametrize(
    "options, said",
    [
        ((), "nothing is allowed: name the topics that may be called, for example --allow 'todo/#'"),
        (("--allow", "macaque/services"), "private"),
        (("--allow", ""), "empty"),
        (("--allow", "#", "--host", "0.0.0.0"), "every program that reaches 0.0.0.0 could call"),
        (("--allow", "#", "--cors", "shop"), "--cors shop is not an origin"),
        (("--allow", "#", "--rate", "often"), "--rate often is not a rate"),
        (("--allow", "#", "--workers", "2", "--health-port", "9000"), "cannot share the health port"),
        (("--allow", "#", "--broker", "nonsense://x"), "the URL in --broker cannot be used"),
        (("--allow", "#", "--host", "192.0.2.1", "--public"), "give an address of this machine"),
        (("--allow", "#", "--rate", "0/hour"), "--rate 0/hour is not a rate"),
    ],
)
def test_a_gateway_that_cannot_start_says_why_in_one_line(options: tuple[str, ...], said: str) -> None:
    assert said in Command("gateway", *options).failed(2)


def test_tokens_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("ann short\n")
    assert "line 1: the token has 5 characters" in Command("gateway", "--allow", "#", "--tokens", str(file)).failed(2)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = Command("gateway", "--allow", "#", "--port", str(port)).failed(2)
        health = Command("gateway", "--allow", "#", "--port", "0", "--health-port", str(port)).failed(2)
    assert f"port {port} of 127.0.0.1 cannot be used" in said and f"--port {port + 1}" in said
    assert f"--health-port {port + 1}" in health


def test_packages_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from macaque.cli import gateway

    monkeypatch.setattr(gateway, "NEEDED", ("gevent", "no_such_package"))
    result = CliRunner().invoke(gateway.gateway, ["--allow", "#"])
    assert result.exit_code == 2
    assert "needs no_such_package: pip install 'macaque-amqp[gateway]'" in result.output


def test_on_all_addresses_callers_need_a_token_or_the_gateway_is_public(
    shared_server: Server, start_front: StartFront
) -> None:
    options = ("--allow", "x", "--host", "0.0.0.0")
    for more, env, status in (("--public",), {}, 503), ((), {"MACAQUE_GATEWAY_TOKEN": TOKEN}, 401):
        front = start_front(shared_server.url, *options, *more, **env)
        assert front.call("x").status == status
        assert front.process.stop() == 0


def test_host_and_port_come_from_the_environment(shared_server: Server, start_front: Any) -> None:
    front = start_front(shared_server.url, "--allow", "x", HOST="::1")
    assert front.url.startswith("http://[::1]:")
    assert front.call("x").status == 503
