"""The `macaque` command: call a service from a shell, and run the services of a module.

A mistake is one line on stderr: exit code 2 when the command or its surroundings are wrong, 1 when the call failed.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click
import msgspec

from macaque.client import TIMEOUT, Client
from macaque.dead_command import dead
from macaque.doctor_command import doctor
from macaque.errors import ConnectionLost, MacaqueError
from macaque.logs import FORMATS, LEVELS, set_up
from macaque.server import CLOSE_TIMEOUT, Server
from macaque.terminal import Commands, broker_option, fail, print_json, quiet, shortened, unusable_broker
from mqlight.errors import InvalidArgumentError

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="macaque-amqp")
def main() -> None:
    """Microservices over AMQP 1.0."""


main.add_command(dead)
main.add_command(doctor)


@main.command()
@click.argument("topic")
@click.argument("json", default="null", metavar="[JSON]")
@click.option("--timeout", default=TIMEOUT, show_default=True, metavar="SECONDS", help="How long to wait.")
@broker_option
def call(topic: str, json: str, timeout: float, broker: str | None) -> None:
    """Call the service at TOPIC with JSON as its data, and print what it answers.

    JSON is null when it is left out; - reads it from standard input.
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


@main.command()
@click.argument("app", metavar="MODULE:APP")
@click.option("--debug", is_flag=True, help="Log a line for each request, and send tracebacks to callers.")
@click.option(
    "--drain-timeout",
    type=click.FloatRange(min=0),
    default=CLOSE_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="How long requests in hand may take when it ends; others of the share get what is not finished then.",
)
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve /healthz, /readyz and /metrics there over HTTP; 0 takes a free port. [default: do not]",
)
@click.option("--health-host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address for that.")
@click.option("--log-level", type=click.Choice(LEVELS), show_default="info", help="The least level that is logged.")
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Lines of text, or JSON objects.",
)
def run(
    app: str,
    debug: bool,
    drain_timeout: float,
    health_port: int | None,
    health_host: str,
    log_level: str | None,
    log_format: str,
) -> None:
    """Serve the services of APP, a macaque.Server in MODULE or a function that returns one, until Ctrl-C or SIGTERM.

    Then it takes no more requests, finishes those in hand, and leaves. A second signal ends it at once.
    """
    set_up(log_level or ("debug" if debug else "info"), log_format)
    server = _load(app)
    try:
        server.run(debug=debug, drain_timeout=drain_timeout, health_port=health_port, health_host=health_host)
    except MacaqueError as error:
        fail(2, str(error))
    except OSError as error:
        fail(2, f"the health port {health_port} of {health_host} cannot be used: {error.strerror or error}")


def _load(app: str) -> Server:
    """The server that MODULE:APP names; ends the command with a line on stderr if there is none."""
    module_name, colon, path = app.partition(":")
    if not colon or not module_name or not path:
        fail(2, f"{app} is not MODULE:APP; write the module, a colon, and the name of its macaque.Server")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            fail(2, f"there is no module {module_name} in {os.getcwd()} or on Python's path")
        fail(2, f"{module_name} cannot be imported: {error}")
    except Exception as error:
        fail(2, f"{module_name} cannot be imported: {type(error).__name__}: {error}")
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            fail(2, f"{module_name} has no {path}; is it the name of the macaque.Server?")
    if not isinstance(found, Server) and callable(found):
        try:
            found = found()
        except Exception as error:
            fail(2, f"{app} failed: {type(error).__name__}: {error}")
    if not isinstance(found, Server):
        fail(2, f"{app} is of type {type(found).__name__}; a macaque.Server is needed, or a function that returns one")
    return found
