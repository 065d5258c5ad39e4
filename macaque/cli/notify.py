"""`macaque notify`: send a one-way message from a shell."""

from __future__ import annotations

import click

from macaque.cli.calling import CallCommand, data_argument, json_option, opened, read_data, timeout_option
from macaque.cli.terminal import broker_option

__all__ = ["notify"]


@click.command(cls=CallCommand)
@click.argument("topic")
@data_argument
@click.option("--ttl", type=float, metavar="SECONDS", help="Discard the message after SECONDS. [default: keep it]")
@timeout_option
@json_option
@broker_option
def notify(topic: str, json: str, ttl: float | None, timeout: float, as_json: bool, broker: str | None) -> None:
    """Send JSON as a one-way message to the service at TOPIC.

    The command ends when the broker has accepted the message. JSON is null by default. If it is -, the data is read
    from standard input.
    """
    data = read_data(json)
    with opened(broker, timeout, as_json=as_json) as client:
        client.notify(topic, data, ttl).result()
