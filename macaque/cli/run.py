"""`macaque run`: run the services of a module."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from macaque.broker import resolve
from macaque.cli.supervisor import Supervisor, leave_with_parent
from macaque.cli.terminal import broker_option, fail, unusable_broker
from macaque.errors import MacaqueError
from macaque.logs import FORMATS, LEVELS, set_up
from macaque.server import CLOSE_TIMEOUT, Server
from mqlight.errors import InvalidArgumentError

__all__ = ["run"]


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="COUNT",
    help="Run COUNT processes.",
)
@click.option("--reload", is_flag=True, help="Start the processes again when a Python file changes.")
@click.option(
    "--reload-dir",
    "reload_dirs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Watch the files below PATH. May be given several times. [default: the current folder]",
)
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
) -> None:
    """Serve the services of APP until Ctrl-C or SIGTERM.

    APP is a macaque.Server in MODULE, or a function that returns one. At the end it takes no more requests, finishes
    the running ones, and disconnects. A second signal ends it at once.

    With --workers or --reload the services run in processes of their own. A process that ends is started again. At the
    end all of them finish their requests together.
    """
    set_up(log_level or ("debug" if debug else "info"), log_format)
    if worker is not None:
        _name_in_log(worker)
    if broker is not None:
        try:
            resolve(broker, None, os.environ)
        except InvalidArgumentError as error:
            unusable_broker(broker, error)
        os.environ["MACAQUE_BROKER"] = broker
    if (workers > 1 or reload) and worker is None:
        _supervise(app, workers, (reload_dirs or (Path.cwd(),)) if reload else None, drain_timeout, health_port)
    loaded: list[Server] = []

    def leave() -> bool:
        """Let the server finish and end. Return False if there is none yet."""
        for each in loaded:
            each._ends.put()
        return bool(loaded)

    if worker is not None:
        leave_with_parent(leave)
    server = _load(app, shows_traceback=reload)
    loaded.append(server)
    if broker is not None:
        server._broker = broker
    try:
        server.run(debug=debug, drain_timeout=drain_timeout, health_port=health_port, health_host=health_host)
    except (MacaqueError, TypeError, ValueError) as error:  # no broker, or an invalid setting or annotation
        fail(2, str(error))
    except OSError as error:
        fail(2, f"the health port {health_port} of {health_host} cannot be used: {error.strerror or error}")


def _supervise(
    app: str, workers: int, watched: Sequence[Path] | None, grace: float, health_port: int | None
) -> NoReturn:
    """Run the services in processes of their own, and end the command with their exit code."""
    _parts(app)
    if watched is not None and importlib.util.find_spec("watchfiles") is None:
        fail(2, "--reload needs watchfiles: pip install 'macaque-amqp[reload]'")
    if workers > 1 and health_port:
        fail(2, f"{workers} workers cannot share the health port {health_port}: give --health-port 0, or one worker")
    command = [sys.executable, "-m", "macaque", *sys.argv[1:], "--worker"]
    raise SystemExit(Supervisor(command, workers, grace, watched).run())


def _name_in_log(worker: int) -> None:
    """Begin each line of the log with the number of this worker."""

    def mark(record: logging.LogRecord) -> bool:
        record.msg = f"worker {worker}: {record.msg}"
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(mark)


def _parts(app: str) -> tuple[str, str]:
    """Return the names of the module and of the server in it."""
    module_name, colon, path = app.partition(":")
    if module_name.endswith(".py"):
        said = module_name.removesuffix(".py").replace("/", ".").lstrip(".")
        fail(2, f"{app} names a file; did you mean {said}:{path or 'app'}?")
    if not colon or not module_name or not path:
        fail(2, f"{app} is not MODULE:APP; write the module, a colon, and the name of its macaque.Server")
    return module_name, path


def _load(app: str, *, shows_traceback: bool = False) -> Server:
    """Return the server that MODULE:APP names. Without one, end the command with a line on stderr."""
    module_name, path = _parts(app)
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            fail(2, f"there is no module {module_name} in {os.getcwd()} or on Python's path")
        fail(2, f"{module_name} cannot be imported: {error}")
    except Exception as error:
        if shows_traceback:
            traceback.print_exc()
        fail(2, f"{module_name} cannot be imported: {type(error).__name__}: {error}")
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            servers = [name for name, value in vars(sys.modules[module_name]).items() if isinstance(value, Server)]
            near = f"did you mean {module_name}:{servers[0]}?" if servers else "is it the name of the macaque.Server?"
            fail(2, f"{module_name} has no {path}; {near}")
    if not isinstance(found, Server) and callable(found):
        try:
            found = found()
        except Exception as error:
            fail(2, f"{app} failed: {type(error).__name__}: {error}")
    if not isinstance(found, Server):
        fail(2, f"{app} is of type {type(found).__name__}; a macaque.Server is needed, or a function that returns one")
    return found
