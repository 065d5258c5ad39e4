"""`macaque call`: call a service from a shell."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from macaque.cli.terminal import broker_option, fail, print_json, quiet, shortened, unusable_broker
from macaque.client import TIMEOUT, Client
from macaque.errors import ConnectionLost, MacaqueError
from mqlight.errors import InvalidArgumentError

__all__ = ["call"]


@click.command()
@click.argument("topic")
@click.argument("json", default="null", metavar="[JSON]")
@click.option("--timeout", default=TIMEOUT, show_default=True, metavar="SECONDS", help="Wait at most SECONDS.")
@broker_option
def call(topic: str, json: str, timeout: float, broker: str | None) -> None:
    """Call the service at TOPIC with JSON, and print the answer.

    JSON is the data of the call, by default null. If it is -, the data is read from standard input.
    """
    if json == "-":
        json = sys.stdin.read()
    try:
        data = msgspec.json.decode(json)
    except (ValueError, RecursionError) as error:
        fail(2, f"{shortened(json)} is not JSON ({error}); a string needs its quotes, as in '\"text\"'")
    answer = _call(topic, data, timeout, broker)
    print_json(answer)


def _call(topic: str, data: Any, timeout: float, broker: str | None) -> Any:
    quiet()
    try:
        client = Client(broker=broker, timeout=timeout)
    except InvalidArgumentError as error:
        unusable_broker(broker, error)
    except ValueError as error:
        fail(2, str(error))
    try:
        with client:
            client.connect(min(timeout, TIMEOUT))
            return client.call(topic, data).result()
    except ConnectionLost as error:
        fail(2, str(error))
    except MacaqueError as error:
        fail(1, str(error))
    except (TypeError, ValueError) as error:
        fail(2, str(error))
    except KeyboardInterrupt:
        fail(130, "interrupted")
