"""The options of the server, and the sentence for each invalid one."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqlight.server.limits import Limits
from mqlight.server.program import CannotStartError, Options, Program

OPTIONS = Options(
    host="127.0.0.1",
    port=0,
    users=None,
    allow_anonymous=False,
    trusted_network=(),
    tls_cert=None,
    tls_key=None,
    tls_client_ca=None,
    heartbeat=30.0,
    data=None,
    metrics_port=None,
    console=False,
    console_port=None,
    console_admin=False,
    console_hide_bodies=False,
    console_host=(),
    console_memory=1024 * 1024,
    like_ibm_mq=False,
    limits=Limits(),
)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tls_key": "key.pem"}, "--tls-key needs --tls-cert"),
        ({"tls_client_ca": "ca.pem"}, "--tls-client-ca needs --tls-cert"),
        ({"tls_cert": "/nowhere.pem"}, "cannot use the certificate /nowhere.pem"),
        ({"users": "/nowhere/users"}, "/nowhere/users"),
        ({"trusted_network": ("10.1.0.0/99",)}, "--trusted-network: "),
        ({"host": "0.0.0.0"}, "--users"),
    ],
)
def test_an_option_that_cannot_be_followed_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(CannotStartError) as caught:
        Program(replace(OPTIONS, **options))
    assert words in str(caught.value)


def test_a_port_that_is_in_use_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotStartError, match=f"cannot listen on 127.0.0.1:{port}: .*--port or AMQP_PORT"):
            Program(replace(OPTIONS, port=port))


def test_it_listens_when_it_is_made(tmp_path: Path) -> None:
    program = Program(replace(OPTIONS, data=tmp_path))
    assert program._url.startswith("amqp://127.0.0.1:")
    with pytest.raises(CannotStartError, match="is in use by another server"):
        Program(replace(OPTIONS, data=tmp_path))
    program._listener._sock.close()


def test_others_who_can_read_the_users_file_and_a_reachable_address_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users = tmp_path / "users"
    users.write_text("anonymous send a\n")
    users.chmod(0o644)
    program = Program(replace(OPTIONS, host="0.0.0.0", users=str(users)))
    program._listener._sock.close()
    said = capsys.readouterr().err
    assert f"run chmod 600 {users}" in said and "without --tls-cert only clients on this machine can log in" in said
