"""`macaque dev`: a development server, its console, and the services of a module, which follow the changes of files."""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from macaque.broker import DEFAULT_BROKER
from macaque.cli.companion import Companion
from macaque.cli.gateway import NEEDED as NEEDED_FOR_HTTP
from macaque.cli.loading import target_of
from macaque.cli.supervisor import Supervisor, words_of_end
from macaque.cli.terminal import fail, quiet, reload_dir_option, workers_option
from macaque.client import Client
from macaque.errors import MacaqueError
from macaque.logs import LEVELS, set_up
from macaque.observe.info import ServiceInfo
from macaque.specs.calls import in_curl, in_shell
from mqlight.amqp.text import printable
from mqlight.log import Log

__all__ = ["dev"]

log = Log(__name__)

GRACE = 2.0
"""Seconds that running requests have at the end."""
LOOK = 2.0
"""Seconds to find out which program has taken the port."""
MAKES_SERVER = re.compile(r"\bServer\(")
USUAL = ("app.py", "main.py")
"""The files that are meant if several make a server."""


@click.command()
@click.argument("app", metavar="[MODULE[:APP]]", required=False)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5672,
    show_default=True,
    metavar="PORT",
    help="Let the server listen on PORT. 0 picks a free port.",
)
@click.option(
    "--console-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve the console on PORT. 0 picks a free port. [default: 9180, or the next free one]",
)
@click.option(
    "--http",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve the services over HTTP on PORT. 0 picks a free port. [default: no HTTP]",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the messages of the server in DIR. Without it, they end with the server.",
)
@workers_option
@click.option(
    "--reload/--no-reload",
    default=True,
    show_default=True,
    help="Start the processes again when a Python file changes.",
)
@reload_dir_option
@click.option("--log-level", type=click.Choice(LEVELS), show_default="debug", help="Log lines of this level and above.")
def dev(
    app: str | None,
    port: int,
    console_port: int | None,
    http: int | None,
    data: Path | None,
    workers: int,
    reload: bool,
    reload_dirs: tuple[Path, ...],
    log_level: str | None,
) -> None:
    """Run the services of APP with a server and its console.

    APP is that of `macaque run`. If it is left out, the command takes the file in this folder that makes a
    macaque.Server. It prints the lines for a shell that call the services. When a Python file changes, the services
    start again, and the server keeps its messages. Ctrl-C ends everything.
    """
    set_up(log_level or "info")
    _check_packages(reload, http is not None)
    if app is None:
        app = guessed(Path.cwd())
    folder = target_of(app).folder
    for option, wanted in ("--port", port), ("--console-port", console_port), ("--http", http):
        if wanted:
            _check_free(option, wanted, app)
    options = ["--port", str(port), "--console", "--console-admin"]
    options += [] if console_port is None else ["--console-port", str(console_port)]
    options += [] if data is None else ["--data", str(data)]
    with ExitStack() as stack:
        servers: dict[str, Companion] = {}

        def serve(name: str, module: str, *arguments: str) -> str:
            servers[name] = stack.enter_context(Companion(module, *arguments))
            return servers[name].wait_ready()

        broker = serve("server", "mqlight.server", *options)
        url = None
        if http is not None:
            options = ["--broker", broker, "--host", "127.0.0.1", "--port", str(http), "--drain-timeout", str(GRACE)]
            url = serve("gateway", "macaque", "gateway", "--allow", "#", "--subscribe", "#", *options)
        command = [sys.executable, "-m", "macaque", "run", app, "--broker", broker, "--debug", *(["--reload"] * reload)]
        command += ["--drain-timeout", str(GRACE), *([] if log_level is None else ["--log-level", log_level])]
        watched = (reload_dirs or {Path.cwd(), folder}) if reload else None
        supervisor = Supervisor(command, workers, GRACE, watched, on_serves=_shows_calls(app, broker, url))
        for name, server in servers.items():
            server.watch(partial(_end_all, supervisor, name))
        code = supervisor.run()
    raise SystemExit(code)


def _end_all(supervisor: Supervisor, name: str, code: int) -> None:
    """End the services, because a server has ended."""
    log.error("the %s %s, so everything ends", name, words_of_end(code))
    supervisor.leave(1)


def _check_packages(reload: bool, http: bool) -> None:
    """End the command if a package is missing that it needs."""
    needed = ["gevent", "bottle", *(["watchfiles"] if reload else []), *(NEEDED_FOR_HTTP if http else [])]
    missing = [name for name in dict.fromkeys(needed) if importlib.util.find_spec(name) is None]
    if missing:
        extras = "dev,gateway" if http else "dev"
        fail(2, f"macaque dev needs {' and '.join(missing)}: pip install 'macaque-amqp[{extras}]'")


def guessed(folder: Path) -> str:
    """Return the file in a folder that makes a server. If there is none, or more than one, the command ends."""
    found = [path.name for path in sorted(folder.glob("*.py")) if _makes_server(path)]
    meant = [name for name in USUAL if name in found] or found
    if not meant:
        fail(2, f"no file in {folder} makes a macaque.Server; name the module: macaque dev MODULE")
    if len(found) > 1 and meant is found:
        fail(2, f"{' and '.join(found)} make a macaque.Server; name one: macaque dev {found[0]}")
    return meant[0]


def _makes_server(path: Path) -> bool:
    """Return whether a file seems to make a server. It is not run: the process that does it must be a new one."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return not path.name.startswith("test_") and "macaque" in text and MAKES_SERVER.search(text) is not None


def _check_free(option: str, port: int, app: str) -> None:
    """End the command if a program listens on the port of an option, and tell which one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
            return
        except OSError as error:
            reason = error
    other = f"choose another port for this one: macaque dev {app} {option} 0"
    if reason.errno != errno.EADDRINUSE:
        fail(2, f"port {port} cannot be used: {reason.strerror}; {other}")
    product = _product(f"amqp://127.0.0.1:{port}") if option == "--port" else None
    if product is None:
        fail(2, f"port {port} is taken by another program; {other}")
    fail(2, f"port {port} is taken by a broker ({product}); use it: macaque run {app} --reload; or {other}")


def _product(url: str) -> str | None:
    """Return the name of the broker at a URL, or None if no broker accepts a client there."""
    quiet()
    try:
        with Client(broker=url) as client:
            client.connect(LOOK)
            return str(client.broker_properties.get("product", "of an unknown kind"))
    except MacaqueError:
        return None


def _shows_calls(app: str, broker: str, url: str | None) -> Callable[[list[ServiceInfo]], None]:
    """Return a function that prints the commands that call services, if they are not those that it has printed last.

    Args:
        app: the name of the app.
        broker: the URL of the broker.
        url: the URL of the gateway, if there is one.
    """
    last: list[str] | None = None

    def show(services: list[ServiceInfo]) -> None:
        nonlocal last
        lines = [in_shell(service) for service in services]
        if url is not None:
            lines += [line for service in services if (line := in_curl(service, url)) is not None]
        if lines == last:
            return
        last = lines
        if not lines:
            click.echo(f"{app} has no services: write one with @app.service")
            return
        click.echo(f"{app} serves. Call it from another terminal:")
        if (os.environ.get("MACAQUE_BROKER") or DEFAULT_BROKER) != broker:
            click.echo(f"    export MACAQUE_BROKER={broker}")
        for line in dict.fromkeys(lines):
            click.echo(f"    {printable(line, 10_000)}")

    return show
