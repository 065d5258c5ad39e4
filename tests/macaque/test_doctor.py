"""`macaque doctor`, as a shell would run it, against brokers that are well and others that are not."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import Certificates
from macaque.dead import DeadLetters
from macaque.finding import LIMITS
from macaque.probe import Probe
from mqlight.amqp import COMPILED
from mqlight.service import Service
from mqlight.wire.addressing import DIALECTS
from processes import ROOT, Server, start_server

STEPS = [
    "name", "tcp", "tls", "login", "broker", "replies", "share", "send", "reply", "dead letters", "dead letters",
    "call", "size", "forget",
]  # fmt: skip
PASSWORD = "swim-7391"


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "macaque", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **environ},
    )


def examine(*arguments: str, status: int = 0, **environ: str) -> list[dict[str, Any]]:
    """What the doctor finds; it has to end with this status."""
    done = run("--json", *arguments, **environ)
    assert done.returncode == status, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is (status == 0)
    assert all((finding["advice"] is None) == (finding["status"] == "ok") for finding in report["findings"])
    return report["findings"]  # type: ignore[no-any-return]


def failures(findings: list[dict[str, Any]]) -> dict[str, str]:
    return {finding["step"]: finding["said"] for finding in findings if finding["status"] == "failed"}


@pytest.fixture
def started() -> Iterator[Callable[..., Server]]:
    """Start a server with these options."""
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(start_server(*options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The password lines of fish and bird."""
    file = tmp_path_factory.mktemp("users") / "users"
    for name in ("fish", "bird"):
        subprocess.run(
            [sys.executable, "-m", "mqlight.server", "passwd", str(file), name],
            input=f"{PASSWORD}\n", text=True, check=True, cwd=ROOT, stdout=subprocess.PIPE,
        )  # fmt: skip
    return [line for line in file.read_text().splitlines() if " password " in line]


@pytest.fixture
def restricted(tmp_path: Path, hashes: list[str], started: Callable[..., Server]) -> Callable[..., str]:
    """Start a server with these lines in its users file; returns what its URL is without a user."""

    def start(*lines: str) -> str:
        file = tmp_path / "users"
        file.write_text("\n".join([*hashes, *lines, ""]))
        file.chmod(0o600)
        return started("--users", str(file)).url

    return start


def of(user: str, url: str, password: str = PASSWORD) -> str:
    return url.replace("://", f"://{user}:{password}@")


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# A broker that is well


def test_a_broker_that_is_well_has_a_line_for_each_step(server: Server) -> None:
    done = run(MACAQUE_BROKER=server.url)
    assert (done.returncode, done.stderr) == (0, "")
    url, *lines, engine, end = done.stdout.splitlines()
    assert engine == f"This program's AMQP engine is {'compiled' if COMPILED else 'plain Python'}."
    assert [re.split(r"  +", line)[1] for line in lines] == STEPS
    assert all(line.startswith("ok ") for line in lines)
    assert (url, end) == (server.url, "macaque can work with this broker.")
    assert re.search(r"a service answered 10 calls, in [\d.]+ ms", done.stdout)


def test_json_is_for_programs(server: Server) -> None:
    findings = examine("--broker", server.url)
    assert [finding["step"] for finding in findings] == STEPS
    assert {finding["url"] for finding in findings} == {server.url}


def test_nothing_is_left_behind(server: Server) -> None:
    said = {finding["step"]: finding["said"] for finding in examine("--broker", server.url)}
    replies, topic = re.search(r"\((response/\S+)\)", said["replies"]), re.search(r"of (\S+)/share\)", said["share"])
    assert replies and topic
    with Probe(Service.of(server.url), 5.0) as probe:
        for each in (replies[1], topic[1], f"{topic[1]}/share", f"{topic[1]}/nobody"):
            assert not probe.send(each), f"there is still a destination for {each}"
    with DeadLetters(server.url) as box:
        assert box.letters == []


def test_dead_letters_that_are_there_stay(server: Server) -> None:
    with Probe(Service.of(server.url), 5.0) as probe:
        probe.subscribe("macaque/dead/#", "macaque-dead", ttl=30 * 24 * 3600, keep=True)
        probe.send("macaque/dead/work")
    examine("--broker", server.url)
    with DeadLetters(server.url) as box:
        assert [letter.endpoint for letter in box.letters] == ["work"]


def test_what_a_dialect_cannot_do_is_a_warning(started: Callable[..., Server]) -> None:
    findings = examine("--broker", started("--like-ibm-mq").url)
    limits = [finding for finding in findings if finding["status"] == "warning"]
    assert [finding["step"] for finding in limits] == ["limit"] * len(LIMITS["ibm-mq"])
    assert "Timeout" in limits[0]["said"]


def test_a_dialect_that_is_not_the_brokers_own_is_a_warning(server: Server) -> None:
    findings = examine("--broker", f"{server.url}?dialect=ibm-mq")
    (broker,) = (finding for finding in findings if finding["step"] == "broker")
    assert broker["said"].endswith("in the dialect ibm-mq, because the URL says so, and not in mqlight")
    assert broker["status"] == "warning" and "leave ?dialect= out" in broker["advice"]


def test_each_dialect_has_its_limits_written_down() -> None:
    assert set(LIMITS) == set(DIALECTS)


def test_a_small_limit_of_messages_is_a_warning(started: Callable[..., Server]) -> None:
    findings = examine("--broker", started("--max-message-size", "4096").url)
    (size,) = (finding for finding in findings if finding["step"] == "size")
    assert size["status"] == "warning" and "4096 bytes" in size["said"]


# A broker that cannot be reached


def test_nobody_listens(free_port: int) -> None:
    findings = examine("--broker", f"amqp://127.0.0.1:{free_port}", status=1)
    assert [finding["step"] for finding in findings] == ["name", "tcp"]
    assert failures(findings) == {"tcp": f"nobody listens on port {free_port}"}


def test_a_host_without_an_address() -> None:
    assert "no.such.invalid has no address" in failures(examine("--broker", "amqp://no.such.invalid", status=1))["name"]


def test_a_lookup_that_does_not_answer(free_port: int) -> None:
    said = failures(examine("--broker", f"http://127.0.0.1:{free_port}/lookup", status=1))
    assert "could not be reached" in said["name"]


def test_each_url_of_a_list_is_looked_at_and_the_others_go_on(server: Server, free_port: int) -> None:
    dead = f"amqp://127.0.0.1:{free_port}"
    findings = examine(status=1, MACAQUE_BROKER=f"{dead},{server.url}")
    assert [(finding["url"], finding["step"]) for finding in findings][:3] == [
        (dead, "name"),
        (dead, "tcp"),
        (server.url, "name"),
    ]
    assert list(failures(findings)) == ["tcp"] and findings[-1]["step"] == "forget"


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
    assert "failed   login" in output and "does it speak AMQP 1.0 on this port" in output


# TLS


def tls(started: Callable[..., Server], certificate: str) -> str:
    return started("--tls-cert", certificate, "--tls-key", certificate).url.replace("0.0.0.0", "127.0.0.1")


def test_tls_says_what_the_certificate_is_for_and_when_it_expires(
    started: Callable[..., Server], certificates: Certificates
) -> None:
    url = tls(started, certificates.host("127.0.0.1"))
    findings = examine("--broker", url, SSL_CERT_FILE=certificates.authority)
    (said,) = (finding["said"] for finding in findings if finding["step"] == "tls")
    assert re.match(r"TLSv1\.3, the certificate is trusted, is for 127\.0\.0\.1, and expires on \d{4}-\d\d-\d\d", said)


@pytest.mark.parametrize(
    ("fault", "said", "advice"),
    [
        ("stranger", "signed by an authority that is not trusted", "SSL_CERT_FILE"),
        ("expired", "has expired", "a new certificate"),
        ("name", "is for another IP address", "as the certificate names it"),
    ],
)
def test_a_certificate_that_is_refused(
    started: Callable[..., Server], certificates: Certificates, fault: str, said: str, advice: str
) -> None:
    host = "127.0.0.2" if fault == "name" else "127.0.0.1"
    url = tls(started, certificates.host(host, days=-1 if fault == "expired" else None))
    trusted = certificates.stranger if fault == "stranger" else certificates.authority
    findings = examine("--broker", url, status=1, SSL_CERT_FILE=trusted)
    assert list(failures(findings)) == ["tls"]
    assert said in findings[-1]["said"] and advice in findings[-1]["advice"]


def test_a_certificate_that_ends_soon_is_a_warning(started: Callable[..., Server], certificates: Certificates) -> None:
    url = tls(started, certificates.host("127.0.0.1", days=9.5))
    findings = examine("--broker", url, SSL_CERT_FILE=certificates.authority)
    (warning,) = (finding for finding in findings if finding["status"] == "warning")
    assert warning["step"] == "tls" and warning["said"].endswith("in 9 days")


def test_the_scheme_of_the_url_does_not_fit_the_port(
    server: Server, started: Callable[..., Server], certificates: Certificates
) -> None:
    plain = examine("--broker", server.url.replace("amqp:", "amqps:"), status=1)
    assert "does not speak TLS on this port" in failures(plain)["tls"] and "amqp://" in plain[-1]["advice"]
    url = tls(started, certificates.host("127.0.0.1"))
    secure = examine("--broker", url.replace("amqps:", "amqp:"), status=1)
    assert failures(secure) == {"tls": "the server speaks TLS on this port; use an amqps:// URL"}
    assert secure[-1]["advice"] == "write amqps:// in the URL"


# Users


def test_a_wrong_password_is_a_failed_login_and_is_not_shown(restricted: Callable[..., str]) -> None:
    url = of("fish", restricted(), "wrong-3311")
    assert "does not let the user fish in" in failures(examine("--broker", url, status=1))["login"]
    done = run("--broker", url)
    assert "wrong-3311" not in done.stdout + done.stderr


def test_a_login_without_a_user_is_told_to_name_one(restricted: Callable[..., str]) -> None:
    findings = examine("--broker", restricted(), status=1)
    assert list(failures(findings)) == ["login"] and "USER:PASSWORD@" in findings[-1]["advice"]


def test_what_a_user_may_not_do_is_named_with_the_line_that_allows_it(restricted: Callable[..., str]) -> None:
    findings = examine("--broker", of("fish", restricted()), status=1)
    assert set(failures(findings)) == {"replies", "share", "send", "reply", "dead letters"}
    advice = " ".join(finding["advice"] or "" for finding in findings)
    lines = re.findall(r"give fish (?:the|a) line(?: like)? `((?:send|subscribe) \S+)`", advice)
    assert [re.sub(r"[0-9a-f]{12}", "ID", line) for line in lines] == [
        "subscribe response/macaque_ID",
        "subscribe macaque/doctor/ID/share",
        "send macaque/doctor/ID/nobody",
        "send response/macaque_ID",
        "subscribe macaque/dead/#",
        "send macaque/dead/macaque/doctor/ID",
    ]


def test_a_caller_and_a_service_need_no_more_than_the_docs_give_them(restricted: Callable[..., str]) -> None:
    url = restricted(
        "fish send todo/#",
        "fish subscribe response/{client}",
        "bird subscribe todo/#",
        "bird send response/#",
        "bird send macaque/dead/#",
        "bird subscribe macaque/dead/#",
    )
    caller = examine("--broker", of("fish", url), "--role", "caller", "--topic", "todo")
    assert [finding["step"] for finding in caller][5:] == ["replies", "send", "size", "forget"]
    service = examine("--broker", of("bird", url), "--role", "service", "--topic", "todo")
    assert [finding["step"] for finding in service][5:] == [
        "share", "reply", "dead letters", "dead letters", "size", "forget",
    ]  # fmt: skip
    assert "share" in failures(examine("--broker", of("fish", url), "--topic", "todo", status=1))


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--broker", "ampq://127.0.0.1"), "the URL in --broker cannot be used"),
        (("--broker", ""), "the URL in --broker cannot be used"),
        (("--topic", "a/#"), "'a/#' is a pattern"),
        (("--timeout", "0"), "timeout"),
        (("--role", "king"), "'king'"),
    ],
)
def test_a_mistake_in_the_command_is_status_2(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2 and said in done.stderr and not done.stdout
