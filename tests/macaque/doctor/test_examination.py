"""`macaque doctor`, as a shell would run it, against brokers that are well and others that are not."""

from __future__ import annotations

import re
from collections.abc import Callable

from examining import STEPS, examine, failures, of, run
from macaque.dead_letters import DeadLetters
from macaque.exchange import Exchange
from mqlight.addresses import Addresses
from mqlight.amqp import COMPILED
from processes import Server

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


def test_nothing_is_left_behind(server: Server) -> None:
    said = {finding["step"]: finding["said"] for finding in examine("--broker", server.url)}
    replies, topic = re.search(r"\((response/\S+)\)", said["replies"]), re.search(r"of (\S+)/share\)", said["share"])
    assert replies and topic
    with Exchange(Addresses.of(server.url), lambda: 5.0) as probe:
        for each in (replies[1], topic[1], f"{topic[1]}/share", f"{topic[1]}/nobody"):
            assert not probe.send(each), f"there is still a destination for {each}"
    with DeadLetters(server.url) as box:
        assert box.letters == []


def test_dead_letters_that_are_there_stay(server: Server) -> None:
    with Exchange(Addresses.of(server.url), lambda: 5.0) as probe:
        probe.subscribe("macaque/dead/#", "macaque-dead", ttl=30 * 24 * 3600, keep=True)
        probe.send("macaque/dead/work")
    examine("--broker", server.url)
    with DeadLetters(server.url) as box:
        assert [letter.endpoint for letter in box.letters] == ["work"]


def test_a_small_limit_of_messages_is_a_warning(started: Callable[..., Server]) -> None:
    findings = examine("--broker", started("--max-message-size", "4096").url)
    (size,) = (finding for finding in findings if finding["step"] == "size")
    assert size["status"] == "warning" and "4096 bytes" in size["said"]


# A broker that cannot be reached


def test_each_url_of_a_list_is_looked_at_and_the_others_go_on(server: Server, free_port: int) -> None:
    dead = f"amqp://127.0.0.1:{free_port}"
    findings = examine(status=1, MACAQUE_BROKER=f"{dead},{server.url}")
    assert [(finding["url"], finding["step"]) for finding in findings][:3] == [
        (dead, "name"),
        (dead, "tcp"),
        (server.url, "name"),
    ]
    assert list(failures(findings)) == ["tcp"] and findings[-1]["step"] == "forget"


# Users


def test_what_a_user_may_not_do_is_named_with_the_line_that_allows_it(restricted: Callable[..., str]) -> None:
    findings = examine("--broker", of("fish", restricted()), status=1)
    assert set(failures(findings)) == {"replies", "share", "send", "reply", "dead letters"}
    advice = " ".join(finding["advice"] or "" for finding in findings)
    lines = re.findall(r"add (?:the|a) line(?: like)? `fish ((?:send|subscribe) \S+)`", advice)
    assert [re.sub(r"[0-9a-f]{12}", "ID", line) for line in lines] == [
        "subscribe response/macaque_ID",
        "subscribe macaque/doctor/ID/share",
        "send macaque/doctor/ID/nobody",
        "send response/macaque_ID",
        "subscribe macaque/dead/#",
        "send macaque/dead/macaque/doctor/ID",
        "subscribe macaque/cancel/macaque/doctor/ID",
        "subscribe macaque/stream/macaque_ID/#",
        "subscribe macaque/services",
    ]


EXTRAS = ["cancel", "stream", "discovery"]


def test_the_lines_for_cancelled_calls_streams_and_discovery_are_those_of_the_docs(
    restricted: Callable[..., str],
) -> None:
    url = restricted(
        "fish send todo/#",
        "fish subscribe response/{client}",
        "fish send macaque/cancel/todo/#",
        "fish send macaque/stream/#",
        "fish send macaque/services",
        "bird subscribe todo/#",
        "bird send response/#",
        "bird send macaque/dead/#",
        "bird subscribe macaque/dead/#",
        "bird subscribe macaque/cancel/todo/#",
        "bird subscribe macaque/stream/{client}/#",
        "bird subscribe macaque/services",
    )
    for user, role in ("fish", "caller"), ("bird", "service"):
        findings = examine("--broker", of(user, url), "--role", role, "--topic", "todo")
        assert {finding["status"] for finding in findings} == {"ok"}, findings


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
    assert [finding["step"] for finding in caller][5:] == ["replies", "send", *EXTRAS, "size", "forget"]
    assert [finding["step"] for finding in caller if finding["status"] == "warning"] == EXTRAS
    service = examine("--broker", of("bird", url), "--role", "service", "--topic", "todo")
    assert [finding["step"] for finding in service][5:] == [
        "share", "reply", "dead letters", "dead letters", *EXTRAS, "size", "forget",
    ]  # fmt: skip
    assert "share" in failures(examine("--broker", of("fish", url), "--topic", "todo", status=1))
