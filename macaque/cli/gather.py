"""`macaque gather`: call every service at a topic from a shell."""

from __future__ import annotations

from typing import Any

import click

from macaque.cli.calling import CallCommand, data_argument, json_option, opened, read_data
from macaque.cli.terminal import broker_option, json_line
from macaque.errors import RemoteError
from macaque.many import MAX_REPLIES

__all__ = ["gather"]


@click.command(cls=CallCommand)
@click.argument("topic")
@data_argument
@click.option("--timeout", default=5.0, show_default=True, metavar="SECONDS", help="Take replies for SECONDS.")
@click.option("--replies", default=MAX_REPLIES, show_default=True, metavar="COUNT", help="End after COUNT replies.")
@json_option
@broker_option
def gather(topic: str, json: str, timeout: float, replies: int, as_json: bool, broker: str | None) -> None:
    """Call every service at TOPIC with JSON, and print each reply as one line of JSON when it arrives.

    One reply comes from each share, and from each service without a share. A reply that is an error is printed as an
    object with the member "error". JSON is null by default. If it is -, the data is read from standard input.
    """
    data = read_data(json)

    def failed(error: Exception) -> None:
        if isinstance(error, RemoteError):
            click.echo(json_line({"error": {"code": error.code, "message": error.message, "details": error.details}}))

    def tell(reply: Any) -> None:
        click.echo(json_line(reply))

    with opened(broker, timeout, as_json=as_json) as client:
        client.gather(topic, data, tell, replies=replies, on_error=failed).result()
