"""`macaque services` and `macaque ping`: the servers that run, and their services."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NoReturn

import click
import msgspec

from macaque.cli.calling import opened
from macaque.cli.terminal import broker_option, fail, print_json, table
from macaque.client import Client
from macaque.errors import NoResponders, Timeout
from macaque.observe.discovery import ask
from macaque.observe.info import ServerInfo
from mqlight.amqp.text import nearest, printable
from mqlight.amqp.topics import matches

__all__ = ["ask_servers", "ping", "services", "window_option"]

TELLING = ("macaque mqlight server", "RabbitMQ")
"""The products of brokers that tell whether a message has a receiver."""

window_option = click.option(
    "--timeout", default=1.0, show_default=True, metavar="SECONDS", help="Take answers for SECONDS."
)


@click.command()
@click.argument("topic", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs, with the schemas.")
@click.option("--watch", is_flag=True, help="Ask again and again, until Ctrl-C.")
@window_option
@broker_option
def services(topic: str | None, as_json: bool, watch: bool, timeout: float, broker: str | None) -> None:
    """List the services of all servers, or those of TOPIC, with their figures.

    The exit code is 1 if there is none, and 2 without a connection to the broker.
    """
    with opened(broker, timeout) as client:
        while True:
            servers = ask_servers(client, timeout, topic, wait=watch)
            if as_json:
                print_json([msgspec.to_builtins(server) for server in servers])
            else:
                if watch:
                    click.clear()
                _show(servers)
            if not watch:
                break
    if not any(server.services for server in servers):
        fail(1, "no server serves anything" if topic is None else f"no server serves {topic}")


@click.command()
@click.argument("topic", required=False)
@window_option
@broker_option
def ping(topic: str | None, timeout: float, broker: str | None) -> None:
    """Ask all servers, or those that serve TOPIC, whether they are there. Print each answer when it arrives.

    The exit code is 1 if no server answers, and 2 without a connection to the broker.
    """
    known: set[str] = set()
    found: list[ServerInfo] = []

    def tell(server: ServerInfo) -> None:
        topics = {service.topic for service in server.services or ()}
        known.update(topics)
        if topic is None or any(matches(each, topic) for each in topics):
            found.append(server)
            took = (time.monotonic() - began) * 1000
            click.echo(printable(f"{server.id} on {server.host}, process {server.pid}: {took:.1f} ms", 500))

    with opened(broker, timeout) as client:
        began = time.monotonic()
        ask_servers(client, timeout, None, detail="stats", on_answer=tell)
    if not found:
        near = nearest(topic or "", known)
        fail(1, f"no server serves {topic}" + (f"; did you mean {near}?" if near is not None else ""))


def ask_servers(
    client: Client, timeout: float, topic: str | None, *, wait: bool = False, **options: Any
) -> list[ServerInfo]:
    """Return the answers of all servers. Without any the command ends, unless it shall `wait`."""
    try:
        return ask(client, timeout, topic=topic, **options)
    except NoResponders:
        if not wait:
            fail(1, "no server is registered at this broker: start one, for example with `macaque run`")
        time.sleep(timeout)
    except Timeout:
        if not wait:
            _silent(client, timeout)
    return []


def _silent(client: Client, timeout: float) -> NoReturn:
    """End the command, because no server has answered. Some brokers do not tell whether one is registered."""
    said = f"none has answered within {timeout:g} s: they hang, or are overloaded"
    if client.broker_properties.get("product") in TELLING:
        fail(1, f"servers are registered, but {said}")
    fail(1, f"if servers are registered, {said}. This broker does not tell whether there are any")


def _show(servers: Iterable[ServerInfo]) -> None:
    rows = []
    now = time.time() * 1000
    for server in servers:
        for each in server.services or ():
            place = server.id, f"{server.host}:{server.pid}", _span(now - server.since)
            counts = f"{each.in_flight}/{each.credit}", f"{each.calls}", f"{each.errors}"
            rows.append((each.topic, each.share or "-", *place, *counts, _seconds(each.p50), _seconds(each.p99)))
    table(("TOPIC", "SHARE", "SERVER", "PROCESS", "UP", "BUSY", "CALLS", "ERRORS", "P50", "P99"), sorted(rows))


def _span(milliseconds: float) -> str:
    """Return a span of time in its largest unit."""
    seconds = max(0.0, milliseconds / 1000)
    for size, unit in (86400, "d"), (3600, "h"), (60, "min"):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"
