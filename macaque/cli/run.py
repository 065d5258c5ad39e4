"""`macaque run`: run the services of a module."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

import click

from macaque.cli.channel import leave_with_parent, say
from macaque.cli.loading import load, target_of
from macaque.cli.supervisor import Supervisor
from macaque.cli.terminal import broker_option, check_broker, fail, reload_dir_option, workers_option
from macaque.errors import MacaqueError
from macaque.logs import FORMATS, LEVELS, set_up
from macaque.observe.info import describe
from macaque.server import CLOSE_TIMEOUT, Server

__all__ = ["run"]


@click.command()
@click.argument("app", metavar="MODULE[:APP]")
@workers_option
@click.option("--reload", is_flag=True, help="Start the processes again when a Python file changes.")
@reload_dir_option
@broker_option
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
@click.option("--worker", type=int, hidden=True)
@click.option("--channel", type=int, hidden=True)
def run(
    app: str,
    workers: int,
    reload: bool,
    reload_dirs: tuple[Path, ...],
    broker: str | None,
    debug: bool,
    drain_timeout: float,
    health_port: int | None,
    health_host: str,
    log_level: str | None,
    log_format: str,
    worker: int | None,
    channel: int | None,
) -> None:
    """Serve the services of APP until Ctrl-C or SIGTERM.

    APP is a macaque.Server in MODULE, or a function that returns one. It may be left out if MODULE has one server, or
    one with the name app. MODULE may be the path of a file. At the end it takes no more requests, finishes the running
    ones, and disconnects. A second signal ends it at once.

    With --workers or --reload the services run in processes of their own. A process that ends is started again. At the
    end all of them finish their requests together.
    """
    set_up(log_level or ("debug" if debug else "info"), log_format)
    if worker is not None:
        _name_in_log(worker)
    check_broker(broker)
    if broker is not None:
        os.environ["MACAQUE_BROKER"] = broker
    if (workers > 1 or reload) and worker is None:
        folder = target_of(app).folder
        watched = (reload_dirs or {Path.cwd(), folder}) if reload else None
        _supervise(workers, watched, drain_timeout, health_port)
    loaded: list[Server] = []

    def leave() -> bool:
        """Let the server finish and end. Return False if there is none yet."""
        for each in loaded:
            each._ends.put()
        return bool(loaded)

    if channel is not None:
        leave_with_parent(channel, leave)
    server = load(app, shows_traceback=reload)
    loaded.append(server)
    if channel is not None:
        threading.Thread(target=_say_that_it_serves, args=(channel, server), daemon=True).start()
    if broker is not None:
        server._broker = broker
    try:
        server.run(debug=debug, drain_timeout=drain_timeout, health_port=health_port, health_host=health_host)
    except (MacaqueError, TypeError, ValueError) as error:  # no broker, or an invalid setting or annotation
        fail(2, str(error))
    except OSError as error:
        fail(2, f"the health port {health_port} of {health_host} cannot be used: {error.strerror or error}")


def _supervise(workers: int, watched: Collection[Path] | None, grace: float, health_port: int | None) -> NoReturn:
    """Run the services in processes of their own, and end the command with their exit code."""
    if watched is not None and importlib.util.find_spec("watchfiles") is None:
        fail(2, "--reload needs watchfiles: pip install 'macaque-amqp[reload]'")
    if workers > 1 and health_port:
        fail(2, f"{workers} workers cannot share the health port {health_port}: give --health-port 0, or one worker")
    command = [sys.executable, "-m", "macaque", *sys.argv[1:]]
    raise SystemExit(Supervisor(command, workers, grace, watched).run())


def _say_that_it_serves(channel: int, server: Server) -> None:
    """Wait until the services of a server can be called, and tell the supervisor which ones they are."""
    pause = threading.Event()
    while server.unready():
        pause.wait(0.05)
    say(channel, [describe(service) for service in server._registry])


def _name_in_log(worker: int) -> None:
    """Begin each line of the log with the number of this worker."""

    def mark(record: logging.LogRecord) -> bool:
        record.msg = f"worker {worker}: {record.msg}"
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(mark)
