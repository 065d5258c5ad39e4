"""`macaque doctor` on every broker, and on RabbitMQ with users that may do what docs/brokers.md says, and no more."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import macaque
from macaque.doctor.finding import LIMITS
from processes import ROOT, wait_until
from real_brokers import Broker, RabbitMq, script

USERS = ("fish", "bird")
DEAD_LETTERS = "share:macaque-dead:macaque/dead/#"


def examine(url: str, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "macaque", "doctor", "--json", "--timeout", "10", "--broker", url, *arguments],
        capture_output=True, text=True, timeout=100, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)["findings"]  # type: ignore[no-any-return]


def test_a_broker_is_well(broker: Broker, topic: str) -> None:
    findings = {finding["step"]: finding for finding in examine(broker.url, "--topic", topic)}
    dialect = "mqlight" if broker.name == "embedded" else broker.name
    assert findings["broker"]["said"].endswith(f"used with the dialect {dialect}")
    assert ("limit" in findings) == bool(LIMITS[dialect])
    assert findings["call"]["status"] == "ok"
    if broker.name != "ibm-mq":
        assert ("learns that no service listens" in findings["send"]["said"]) == broker.tells_no_responders


# RabbitMQ's users


@pytest.fixture(scope="module")
def rabbitmq() -> RabbitMq:
    return RabbitMq()


def ctl(url: str, *args: str) -> str:
    return script("rabbitmq", f"--port={urlsplit(url).port}", "ctl", *args)


@pytest.fixture(scope="module")
def users(rabbitmq: RabbitMq) -> Iterator[dict[str, str]]:
    """The URLs of the users that the docs make, by name."""

    def delete() -> None:
        there = ctl(rabbitmq.url, "list_users", "--no-table-headers").split()
        for name in set(USERS) & set(there):
            ctl(rabbitmq.url, "delete_user", name)

    page = (ROOT / "docs/brokers.md").read_text()
    block = re.search(r"<!-- example: least privilege -->\n```sh\n(.*?)```", page, re.DOTALL)
    assert block
    commands = [shlex.split(line) for line in block[1].replace("\\\n", " ").splitlines() if line]
    assert {command[0] for command in commands} == {"rabbitmqctl"}
    delete()
    for _, *arguments in commands:
        ctl(rabbitmq.url, *arguments)
    port = urlsplit(rabbitmq.url).port
    yield {name: f"amqp://{name}:PASSWORD@127.0.0.1:{port}" for name in USERS}
    delete()


def test_a_caller_and_a_service_need_no_more_than_the_docs_give_them(users: dict[str, str]) -> None:
    caller = examine(users["fish"], "--role", "caller", "--topic", "todo")
    assert [finding["step"] for finding in caller if finding["status"] == "ok"][5:] == [
        "replies", "send", "size", "forget",
    ]  # fmt: skip
    service = examine(users["bird"], "--role", "service", "--topic", "todo")
    assert [finding["step"] for finding in service if finding["status"] == "ok"][5:] == [
        "share", "reply", "dead letters", "dead letters", "size", "forget",
    ]  # fmt: skip


def test_they_can_work_with_each_other(users: dict[str, str], topic: str) -> None:
    app = macaque.Server(broker=users["bird"])
    endpoint = f"todo/{topic}"
    app.service(endpoint, share_id="workers", ttl=5, max_deliveries=1)(lambda data: 10 / data)
    with app, macaque.Client(broker=users["fish"], timeout=20.0) as client:
        assert client.call(endpoint, 4).result() == 2.5
        client.notify(endpoint, 0).result()
        wait_until(lambda: endpoint in dead(users["bird"], "list"), 20, "the dead letter")
    (letter,) = (
        letter for letter in json.loads(dead(users["bird"], "list", "--json")) if letter["endpoint"] == endpoint
    )
    assert dead(users["bird"], "drop", letter["id"]) == f"dropped {letter['id']}\n"


def dead(url: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "macaque", "dead", *arguments, "--broker", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=True).stdout


def test_what_a_caller_may_not_do_is_told_and_its_other_calls_go_on(users: dict[str, str], topic: str) -> None:
    app = macaque.Server(broker=users["bird"])
    app.service(f"todo/{topic}", share_id="workers", ttl=5)(lambda data: data)
    with app, macaque.Client(broker=users["fish"], timeout=20.0) as client:
        assert client.call(f"todo/{topic}", 0).result() == 0
        allowed = [client.call(f"todo/{topic}", number) for number in range(20)]
        forbidden = client.call(f"done/{topic}", None)
        allowed += [client.call(f"todo/{topic}", number) for number in range(20, 40)]
        with pytest.raises(macaque.RemoteError, match="refused for user 'fish'") as raised:
            forbidden.result()
        assert raised.value.code == 403
        assert [call.result() for call in allowed] == list(range(40))


def test_what_a_user_lacks_is_named_by_queue_and_key(users: dict[str, str]) -> None:
    findings = examine(users["fish"], "--topic", "todo", status=1)
    failed = {finding["step"]: finding for finding in findings if finding["status"] == "failed"}
    assert set(failed) == {"share", "reply", "dead letters"}
    assert re.search(r"the queue share:macaque-doctor:todo/\w+/share, .* the key todo\.", failed["share"]["advice"])
    assert "refused for user 'fish'" in failed["share"]["said"]
    assert re.search(r"write to amq\.topic .* the key response\.macaque_[0-9a-f]{12} ", failed["reply"]["advice"])


def test_nothing_stays_in_rabbitmq(rabbitmq: RabbitMq, topic: str) -> None:
    def queues() -> set[str]:
        return set(ctl(rabbitmq.url, "list_queues", "name", "--no-table-headers").split()) - {DEAD_LETTERS}

    before = queues()
    examine(rabbitmq.url, "--topic", topic)
    wait_until(lambda: queues() <= before, 60, "the end of each queue that was made")
