"""`macaque run`: run the services of a module."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from macaque.cli.terminal import fail
from macaque.errors import MacaqueError
from macaque.logs import FORMATS, LEVELS, set_up
from macaque.server import CLOSE_TIMEOUT, Server

__all__ = ["run"]


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option("--debug", is_flag=True, help="Log a line for each request, and send tracebacks to callers.")
@click.option(
    "--drain-timeout",
    type=click.FloatRange(min=0),
    default=CLOSE_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="At the end, wait at most SECONDS for running requests. Then other workers of the share get them.",
)
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve /healthz, /readyz and /metrics over HTTP on PORT. 0 picks a free port. [default: no health port]",
)
@click.option(
    "--health-host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address of the health port."
)
@click.option("--log-level", type=click.Choice(LEVELS), show_default="info", help="Log lines of this level and above.")
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Log lines of text or JSON objects.",
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
    """Serve the services of APP until Ctrl-C or SIGTERM.

    APP is a macaque.Server in MODULE, or a function that returns one. At the end it takes no more requests, finishes
    the running ones, and disconnects. A second signal ends it at once.
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
    """Return the server that MODULE:APP names. Without one, end the command with a line on stderr."""
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
