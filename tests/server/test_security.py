"""Logins and permissions, end to end: the client's errors and the server's log."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import macaque
from certificates import Certificates
from mqlight.addresses import Addresses
from mqlight.amqp.codec import Described, Symbol, Ulong
from mqlight.amqp.codec import encode as encode_value
from mqlight.amqp.frames import SASL_HEADER
from mqlight.amqp.message import Message, decode, encode
from mqlight.connection import Connection, State
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError, SecurityError
from processes import ROOT, Process, Server, start_server, wait_until

WAIT = 30.0


def passwd(file: Path, name: str, password: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "mqlight.server", "passwd", str(file), name],
        input=f"{password}\n", text=True, check=True, cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The password lines of the users fish (with the password "swim") and bird ("fly")."""
    file = tmp_path_factory.mktemp("users") / "users"
    for name, password in (("fish", "swim"), ("bird", "fly")):
        passwd(file, name, password)
    return {line.split()[0]: line for line in file.read_text().splitlines() if " password " in line}


@pytest.fixture
def users(tmp_path: Path, hashes: dict[str, str]) -> Callable[..., str]:
    """Write a users file: the two users with their passwords, and the lines given. Returns its name."""

    def write(*lines: str) -> str:
        new = tmp_path / "users.new"
        new.write_text("\n".join([*hashes.values(), *lines, ""]))
        new.chmod(0o600)
        new.replace(tmp_path / "users")
        return str(tmp_path / "users")

    return write


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers with options; they end with the test."""
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(start_server(*options))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    """Start connections; they end with the test. `connect(url, client_id=..., user=..., password=..., ...)`."""
    made: list[Connection] = []

    def start(url: str, client_id: str = "c", **options: Any) -> Connection:
        made.append(Connection(Addresses.of(url, options), client_id))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.stop(1.0)


@pytest.fixture
def refused(connect: Callable[..., Connection]) -> Callable[..., MQLightError]:
    """Connect, expect that to fail, and return how."""

    def fail(url: str, client_id: str = "c", **options: Any) -> MQLightError:
        connection = connect(url, client_id, **options)
        with pytest.raises(MQLightError) as caught:
            connection.wait_started(WAIT)
        return caught.value

    return fail


def outcome_of(connection: Connection, topic: str) -> str:
    """Return the outcome of a message, or the words of its refusal."""
    told: list[Any] = []
    connection.publish(topic, encode(Message(body="m", to=topic)), on_outcome=lambda *outcome: told.append(outcome))
    outcome, condition = wait_until(lambda: told)[0]
    return outcome.name if condition is None else f"{condition.name} {condition.description}"


def subscription_of(connection: Connection, pattern: str, share: str | None = None) -> str:
    """Return SUBSCRIBED for a subscription, or the words of its refusal."""
    told: list[Exception | None] = []
    connection.subscribe(pattern, share, on_delivery=lambda delivery: None, on_subscribed=told.append)
    (error,) = wait_until(lambda: told)
    return "SUBSCRIBED" if error is None else f"{type(error).__name__} {error}"


# Passwords


def test_the_right_password_comes_in_and_a_wrong_one_is_told_so_on_both_sides(
    serve: Any, users: Any, connect: Any, refused: Any
) -> None:
    server = serve("--users", users("fish send #"))
    connect(server.url, user="fish", password="swim").wait_started(WAIT)
    error = refused(server.url, "d", user="fish", password="sink")
    assert isinstance(error, SecurityError) and "refused this client" in str(error)
    line = server.expect(r".*refused: PLAIN was refused for user 'fish': wrong user or password.*")[0]
    assert re.search(r"127\.0\.0\.1:\d+: refused", line)
    assert isinstance(refused(server.url, "e", user="cat", password="swim"), SecurityError)
    assert "sink" not in server.log() + str(error) + repr(error)


def test_with_users_nobody_is_anonymous(serve: Any, users: Any, refused: Any) -> None:
    server = serve("--users", users())
    assert isinstance(refused(server.url), SecurityError)
    server.expect("ANONYMOUS was refused: this server needs a user and a password")


def test_anonymous_clients_that_are_let_in_may_do_what_the_file_says(serve: Any, users: Any, connect: Any) -> None:
    server = serve("--allow-anonymous", "--users", users("anonymous send news"))
    client = connect(server.url)
    assert outcome_of(client, "news") == "ACCEPTED"
    assert " 2035 an anonymous client may not send to 'other'" in outcome_of(client, "other")


def test_a_failed_login_costs_more_each_time_and_holds_up_nobody_else(
    serve: Any, users: Any, refused: Any, connect: Any
) -> None:
    server = serve("--users", users("fish send #", "fish subscribe #"))
    took = []
    for number in range(3):
        began = time.monotonic()
        refused(server.url, f"bad{number}", user="fish", password="sink")
        took.append(time.monotonic() - began)
    assert took[0] >= 0.25 and took[1] >= 0.5 and took[2] >= 1.0
    began = time.monotonic()
    refused(server.url, "nobody", user="cat", password="sink")
    assert time.monotonic() - began >= 0.25, "a user that does not exist waits as well"
    slow = connect(server.url, "bad", user="fish", password="sink")
    began = time.monotonic()
    connect(server.url, "good", user="fish", password="swim").wait_started(WAIT)
    assert time.monotonic() - began < 1.0
    assert slow.state is State.STARTING, "the wrong password still waits for its answer"


def test_a_users_file_that_changes_is_read_again(serve: Any, users: Any, connect: Any) -> None:
    server = serve("--users", users("fish send a"))
    client = connect(server.url, user="fish", password="swim")
    assert outcome_of(client, "a") == "ACCEPTED"
    assert "2035" in outcome_of(client, "b")
    users("fish send b")
    server.expect("the user 'fish' has to log in again")
    wait_until(lambda: outcome_of(client, "b") == "ACCEPTED")
    assert "2035" in outcome_of(client, "a")


def test_a_users_file_that_is_broken_later_changes_nothing(serve: Any, users: Any, connect: Any) -> None:
    server = serve("--users", users("fish send a"))
    users("fish sned a")
    server.expect(r"line 3: the second word must be password.*; the previous users stay valid")
    assert outcome_of(connect(server.url, user="fish", password="swim"), "a") == "ACCEPTED"


def plain_login(user: str, password: str) -> bytes:
    """The first bytes of a client that logs in."""
    body = encode_value(Described(Ulong(0x41), [Symbol("PLAIN"), f"\0{user}\0{password}".encode()]))
    return SASL_HEADER + struct.pack(">IBBH", 8 + len(body), 2, 1, 0) + body


def test_an_attacker_keeps_no_honest_user_of_its_address_out(serve: Any, users: Any, connect: Any) -> None:
    """It guesses the password of one user, and makes up a hundred others; all come from 127.0.0.1."""
    server = serve("--users", users("fish send #", "bird send #"))
    connect(server.url, "before", user="fish", password="swim").wait_started(WAIT)
    with ExitStack() as stack:
        for number in range(150):
            attacker = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            attacker.sendall(plain_login("fish" if number < 50 else f"cat{number}", f"guess{number}"))
        server.expect("wrong user or password; the answer waits [245] s")  # some of the lines are left out
        for name, password in (("fish", "swim"), ("bird", "fly")):
            began = time.monotonic()
            connect(server.url, name, user=name, password=password).wait_started(WAIT)
            assert time.monotonic() - began < 5.0, name


def test_a_user_that_was_taken_out_is_sent_away_and_its_remembered_password_lets_nobody_in(
    serve: Any, users: Any, connect: Any, refused: Any, hashes: dict[str, str]
) -> None:
    file = users("fish send #")
    server = serve("--users", file)
    client = connect(server.url, user="fish", password="swim")
    client.wait_started(WAIT)
    Path(file).write_text(hashes["bird"])
    server.expect("the user 'fish' has to log in again")
    assert isinstance(refused(server.url, "d", user="fish", password="swim"), SecurityError)


# What each may do


def test_what_is_not_allowed_is_refused_in_words_that_mq_light_knows(serve: Any, users: Any, connect: Any) -> None:
    server = serve("--users", users("fish send words/#", "fish subscribe answers/#"))
    client = connect(server.url, user="fish", password="swim")
    assert outcome_of(client, "words/big") == "ACCEPTED"
    said = outcome_of(client, "answers/x")
    assert said.startswith("amqp:not-allowed not authorized: 2035 the user 'fish' may not send to 'answers/x'")
    assert 'a line "fish send PATTERN" in the users file would allow it' in said
    server.expect("2035 the user 'fish' may not send to 'answers/x'")
    assert subscription_of(client, "answers/+/z") == "SUBSCRIBED"
    assert subscription_of(client, "answers/#", "share") == "SUBSCRIBED"
    said = subscription_of(client, "#")
    assert said.startswith("SecurityError") and " 2035 the user 'fish' may not subscribe to '#'" in said
    server.expect(r"link private:# refused: .*2035 the user 'fish' may not subscribe to '#'")
    assert client.state is State.STARTED, "a refusal costs nothing else"


def test_the_lines_that_the_manual_gives_for_a_service_and_its_caller_are_enough(
    serve: Any, users: Any, hashes: dict[str, str]
) -> None:
    """A caller may listen to its own replies only; a service may answer everybody."""
    page = (ROOT / "docs/server.md").read_text()
    block = re.search(r"<!-- example: permissions -->\n```\n(.*?)```", page, re.DOTALL)
    assert block is not None
    lines = [line for line in block[1].splitlines() if not line.startswith("#") and " password " not in line]
    server = serve("--users", users(*lines))
    service = macaque.Server(server.url, security_options={"user": "bird", "password": "fly"})

    @service.service("todo/add", share_id="workers")
    def add(request: Any) -> Any:
        return sum(request)

    service.connect(WAIT)
    try:
        with macaque.Client(server.url, security_options={"user": "fish", "password": "swim"}) as client:
            assert client.call("todo/add", [1, 2], timeout=WAIT).result() == 3
            with pytest.raises(macaque.RemoteError, match="2035") as caught:
                client.call("other", 1, timeout=WAIT).result()
            assert caught.value.code == 403
        spy = Connection(Addresses.of(server.url, {"user": "fish", "password": "swim"}), "spy")
        spy.start()
        assert "2035" in subscription_of(spy, f"response/{client.client_id}")
        assert subscription_of(spy, "response/spy") == "SUBSCRIBED"
        spy.stop()
    finally:
        service.close()


def test_a_client_id_is_not_taken_over_from_another_user(serve: Any, users: Any, connect: Any, refused: Any) -> None:
    server = serve("--users", users("* send #"))
    first = connect(server.url, "mine", user="fish", password="swim")
    first.wait_started(WAIT)
    error = refused(server.url, "mine", user="bird", password="fly")
    assert "2035 the client id mine is in use by another user" in str(error)
    server.expect("refused: .*the client id mine is in use by another user")
    assert outcome_of(first, "t") == "ACCEPTED"
    connect(server.url, "mine", user="fish", password="swim").wait_started(WAIT)
    wait_until(lambda: first.state is State.STOPPED)
    assert "connected with the same client id" in str(first.error)


# TLS


@pytest.fixture
def tls(serve: Any, certificates: Certificates) -> Callable[..., Server]:
    """Start a server with a certificate, one for 127.0.0.1 unless another is named."""
    return lambda *options, certificate=None: serve(
        "--tls-cert", certificate or certificates.host("127.0.0.1"), *options
    )


def test_a_certificate_that_is_right_is_all_that_it_takes(
    tls: Any, users: Any, connect: Any, certificates: Certificates
) -> None:
    server = tls("--users", users("fish send #", "fish subscribe #"))
    assert server.url.startswith("amqps://")
    options = {"ssl_trust_certificate": certificates.authority, "user": "fish", "password": "swim"}
    client = connect(server.url, **options)
    got: list[Delivery] = []
    client.subscribe("t", qos=0, on_delivery=got.append)
    big = "x" * 3_000_000  # more than any buffer on its way
    client.publish("t", encode(Message(body=big, to="t")))
    (delivery,) = wait_until(lambda: got)
    assert decode(delivery.message).body == big


@pytest.mark.parametrize(
    ("wrong", "client_says", "server_says"),
    [
        ("expired", "the server's certificate has expired", "this server's certificate has expired"),
        ("host", "is for another IP address .*127.0.0.1", "is it for the host name that the client uses?"),
        ("authority", "by an authority that is not trusted", "does not trust the authority that signed this server's"),
        ("self-signed", "is self-signed and not trusted", "the client does"),
    ],
)
def test_a_certificate_that_is_wrong_is_refused_with_the_check_that_failed(
    tls: Any, refused: Any, certificates: Certificates, tmp_path: Path, wrong: str, client_says: str, server_says: str
) -> None:
    trust = certificates.authority
    if wrong == "expired":
        certificate = certificates.host("127.0.0.1", days=-1)
    elif wrong == "host":
        certificate = certificates.host("elsewhere.example")
    elif wrong == "authority":
        certificate, trust = certificates.host("127.0.0.1"), certificates.stranger
    else:
        certificate = certificates.self_signed("127.0.0.1")
    server = tls(certificate=certificate)
    error = refused(server.url, ssl_trust_certificate=trust)
    assert isinstance(error, SecurityError)
    assert re.search(client_says, str(error)), error
    server.expect(re.escape(server_says))


def test_plain_text_to_the_tls_port_and_the_reverse_say_which_url_to_use(
    tls: Any, serve: Any, refused: Any, certificates: Certificates
) -> None:
    server = tls()
    error = refused(server.url.replace("amqps", "amqp"))
    assert isinstance(error, SecurityError) and "speaks TLS on this port; use an amqps:// URL" in str(error)
    server.expect("the client does not speak TLS, which this port needs; use an amqps:// URL")
    plain = serve()
    error = refused(plain.url.replace("amqp", "amqps"), ssl_trust_certificate=certificates.authority)
    assert isinstance(error, SecurityError) and "does not speak TLS on this port; use an amqp://" in str(error)
    plain.expect("which is TLS; use an amqp:// URL, or start the server with --tls-cert")


def test_a_server_of_another_kind_that_wants_tls_is_known_by_its_alert(refused: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"amqp://127.0.0.1:{other.getsockname()[1]}"
        connection = Connection(Addresses.of(url), "c")
        connection.start()
        peer, _ = other.accept()
        with peer:
            peer.recv(100)
            peer.sendall(bytes.fromhex("15030100020246"))
            wait_until(lambda: connection.state is State.STOPPED)
        assert "speaks TLS on this port" in str(connection.error)


def test_a_client_certificate_stands_for_its_user(
    tls: Any, users: Any, connect: Any, refused: Any, certificates: Certificates
) -> None:
    ca = certificates.authority
    server = tls("--tls-client-ca", ca, "--users", users("backend certificate", "backend send a", "fish send b"))
    options = {"ssl_trust_certificate": ca, "ssl_client_certificate": certificates.client("backend")}
    client = connect(server.url, **options)
    assert outcome_of(client, "a") == "ACCEPTED"
    assert "the user 'backend' may not send to 'b'" in outcome_of(client, "b")
    assert outcome_of(connect(server.url, "d", **options, user="fish", password="swim"), "b") == "ACCEPTED"
    options["ssl_client_certificate"] = certificates.client("nobody")
    assert isinstance(refused(server.url, "e", **options), SecurityError)
    server.expect('refused: EXTERNAL was refused: there is no line "nobody certificate" in the users file')


def test_a_client_certificate_that_is_missing_or_unknown_is_said_on_both_sides(
    tls: Any, refused: Any, certificates: Certificates, tmp_path: Path
) -> None:
    ca = certificates.authority
    server = tls("--tls-client-ca", ca)
    error = refused(server.url, ssl_trust_certificate=ca)
    assert isinstance(error, SecurityError) and "the server needs a client certificate" in str(error)
    server.expect("refused: the client showed no certificate; --tls-client-ca requires one")
    (tmp_path / "strange").mkdir()
    strange = Certificates(tmp_path / "strange").client("backend")
    error = refused(server.url, "d", ssl_trust_certificate=ca, ssl_client_certificate=strange)
    assert isinstance(error, SecurityError) and "client certificate" in str(error)
    server.expect("refused: the client's certificate was refused: unable to get local issuer certificate")


def test_macaque_call_comes_in_over_tls_with_a_password_that_no_process_list_shows(
    tls: Any, users: Any, certificates: Certificates, spawn: Any
) -> None:
    server = tls("--users", users("* send #", "* subscribe #"))
    options = {"ssl_trust_certificate": certificates.authority, "user": "fish", "password": "swim"}
    service = macaque.Server(server.url, security_options=options)
    service.service("echo")(lambda request: request)
    service.start()
    try:
        for password, code in (("swim", 0), ("sink", 2)):
            url = server.url.replace("//", f"//fish:{password}@")
            env = {"MACAQUE_BROKER": url, "SSL_CERT_FILE": certificates.authority}
            call: Process = spawn(["-m", "macaque", "call", "echo", '"hello"'], env=env)
            command = Path(f"/proc/{call.pid}/cmdline").read_text()
            assert call.wait(WAIT) == code, call.log()
            assert password not in command
            assert ("hello" if code == 0 else "refused this client") in call.log()
            assert code == 0 or call.log().count("\n") == 1
            assert password not in call.log() + server.log()
    finally:
        service.close()


# Where to listen


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "0.0.0.0"], "every client that can reach 0.0.0.0 could use this server: set its users with"),
        (["--tls-key", "x"], "--tls-key needs --tls-cert"),
        (["--tls-cert", "/nowhere"], "cannot use the certificate /nowhere: No such file or directory"),
        (["--tls-cert", "README.md"], "cannot use the certificate README.md: the file is not a matching PEM file"),
        (["--users", "/nowhere"], "cannot read the users file /nowhere: No such file or directory"),
        (["--users", "README.md"], "the users file README.md, line 3: "),
    ],
)
def test_a_server_that_cannot_be_is_one_line_and_exit_code_2(spawn: Any, options: list[str], reason: str) -> None:
    server: Process = spawn(["-m", "mqlight.server", "--port", "0", *options])
    assert server.wait() == 2
    assert reason in server.log() and server.log().count("\n") == 1


OUTSIDE = """
import subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["ip", "address", "add", "10.9.8.7/32", "dev", "lo"], check=True)
sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)
"""
CALLERS = """
import sys
from mqlight.connection import Connection
from mqlight.errors import MQLightError
from mqlight.amqp.frames import SASL_HEADER
from mqlight.addresses import Addresses
from mqlight.amqp.codec import Described, Symbol, Ulong
from mqlight.amqp.codec import encode as encode_value
from processes import start_server
server = start_server("--host", "10.9.8.7", "--users", sys.argv[1])
for options in ({}, {"user": "fish", "password": "swim"}):
    connection = Connection(Addresses.of(server.url, options), "c")
    connection.start()
    try:
        connection.wait_started(10)
        print("came in")
    except MQLightError as error:
        print(error)
    connection.stop()
server.expect("PLAIN was refused")
print(server.log())
server.close()
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs the unshare command of util-linux")
def test_a_password_in_plain_text_from_another_machine_is_refused(users: Any) -> None:
    """In a network of its own, where an address that is not loopback is still nobody else's."""
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", OUTSIDE, "-c", CALLERS, users()]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=60)
    if "unshare" in done.stderr or "'ip'" in done.stderr:
        pytest.skip(f"no network namespace can be made here: {done.stderr.strip().splitlines()[-1]}")
    assert "came in" not in done.stdout, done.stdout
    assert done.stdout.count("refused this client") == 2, done.stdout + done.stderr
    assert "warning: without --tls-cert only clients on this machine can log in" in done.stdout
    assert "PLAIN was refused for user 'fish': this server accepts passwords over TLS only" in done.stdout
    assert "ANONYMOUS was refused: this server needs a user" in done.stdout
    assert "swim" not in done.stdout
