"""`macaque sub`: show messages as they pass."""

from __future__ import annotations

import os
import queue
from datetime import datetime
from typing import Any

import click

from macaque.broker import resolve
from macaque.cli.terminal import broker_option, fail, json_line, mistakes, sendable
from macaque.exchange import Exchange
from macaque.published import Published, published
from macaque.transport import topic_in
from mqlight.amqp.message import MessageError, decode
from mqlight.amqp.text import printable
from mqlight.amqp.topics import validate_pattern
from mqlight.delivery import Delivery
from mqlight.errors import MQLightError

__all__ = ["sub"]

PATIENCE = 10.0
"""Seconds to connect and subscribe."""
CREDIT = 1000
"""The most messages that wait to be printed."""


@click.command()
@click.argument("pattern")
@click.option("--count", type=click.IntRange(min=1), metavar="COUNT", help="End after COUNT messages.")
@click.option("--json", "as_json", is_flag=True, help="Print each message as a JSON object.")
@broker_option
def sub(pattern: str, count: int | None, as_json: bool, broker: str | None) -> None:
    """Show the messages to topics that match PATTERN, until Ctrl-C.

    In PATTERN, + is one level of a topic, and # any number of levels. Services get their messages as usual. The callers
    of a topic without a service wait for their timeout while this command listens to it.
    """
    arrived: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    with mistakes(broker):
        validate_pattern(pattern)
        addresses, _ = resolve(broker, None, os.environ)
        try:
            with Exchange(addresses, lambda: PATIENCE) as exchange:
                exchange.subscribe(pattern, ttl=0, credit=CREDIT, on_delivery=arrived.put)
                click.echo(f"listening to {pattern}", err=True)
                seen = 0
                while count is None or seen < count:
                    delivery = arrived.get()
                    _show(_view(exchange, delivery), as_json)
                    delivery.accept()
                    seen += 1
        except MQLightError as error:
            fail(2, str(error))


def _view(exchange: Exchange, delivery: Delivery) -> Published:
    """Return a message and its topic, which is empty if the message has none."""
    try:
        topic = topic_in(exchange.connection, decode(delivery.message).to or "")
    except MessageError:
        topic = ""
    return published(topic, delivery.message)


def _show(message: Published, as_json: bool) -> None:
    now = datetime.now().astimezone()
    data: Any = message.data if message.error is None else message.error
    if as_json:
        known = {"error": message.error, "uuid": message.uuid, "source": message.source}
        about = {"time": now.isoformat(timespec="milliseconds"), "topic": message.topic, "data": sendable(message.data)}
        click.echo(json_line(about | {name: value for name, value in known.items() if value is not None}))
    else:
        mark = "" if message.error is None else "error "
        click.echo(f"{now:%H:%M:%S}  {printable(message.topic)}  {mark}{json_line(sendable(data))}")
