from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from examining import examine, failures, of, run
from processes import ROOT, Server


def test_a_dialect_that_is_not_the_brokers_own_is_a_warning(server: Server) -> None:
    findings = examine("--broker", f"{server.url}?dialect=ibm-mq")
    (broker,) = (finding for finding in findings if finding["step"] == "broker")
    assert broker["said"].endswith("with the dialect ibm-mq, which the URL demands, instead of mqlight")
    assert broker["status"] == "warning" and "leave ?dialect= out" in broker["advice"]


def test_one_who_accepts_and_says_nothing_takes_no_more_than_the_time_of_a_step() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://127.0.0.1:{silent.getsockname()[1]}"
        said = failures(examine("--broker", url, "--timeout", "1", status=1))
    assert said == {"login": "no connection within 1 s"}


def test_one_who_speaks_something_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"amqp://127.0.0.1:{other.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "macaque", "doctor", "--broker", url], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        with process:
            for _ in range(2):  # of which the first is the one that tries TCP alone
                accepted, _address = other.accept()
                with accepted, suppress(ConnectionError):
                    accepted.settimeout(20)
                    accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    while accepted.recv(4096):
                        pass
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "failed   login" in output and "check that this port is for AMQP 1.0" in output


def test_a_wrong_password_is_a_failed_login_and_is_not_shown(restricted: Callable[..., str]) -> None:
    url = of("fish", restricted(), "wrong-3311")
    assert "refused the login of the user fish" in failures(examine("--broker", url, status=1))["login"]
    done = run("--broker", url)
    assert "wrong-3311" not in done.stdout + done.stderr


def test_a_login_without_a_user_is_told_to_name_one(restricted: Callable[..., str]) -> None:
    findings = examine("--broker", restricted(), status=1)
    assert list(failures(findings)) == ["login"] and "USER:PASSWORD@" in findings[-1]["advice"]
