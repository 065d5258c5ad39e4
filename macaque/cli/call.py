"""`macaque call`: call a service from a shell."""

from __future__ import annotations

import click

from macaque.cli.calling import CallCommand, data_argument, json_option, opened, read_data, timeout_option
from macaque.cli.terminal import broker_option, print_json

__all__ = ["call"]


@click.command(cls=CallCommand)
@click.argument("topic")
@data_argument
@timeout_option
@json_option
@broker_option
def call(topic: str, json: str, timeout: float, as_json: bool, broker: str | None) -> None:
    """Call the service at TOPIC with JSON, and print the answer.

    JSON is the data of the call, by default null. If it is -, the data is read from standard input.
    """
    data = read_data(json)
    with opened(broker, timeout, as_json=as_json) as client:
        answer = client.call(topic, data).result()
    print_json(answer)
