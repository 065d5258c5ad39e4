"""``python -m mqlight.server``: start the development server, set its users' passwords, or drop destinations."""

from __future__ import annotations

import logging
import resource
import signal
import socket
import sys
from dataclasses import fields
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

try:
    import gevent
    from gevent.event import Event
    from gevent.pywsgi import WSGIServer
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "gevent":
        raise
    print("The server needs gevent, which its extra installs: pip install 'macaque-amqp[server]'", file=sys.stderr)
    sys.exit(2)

from mqlight.amqp import COMPILED
from mqlight.environment import is_service_link
from mqlight.log_format import FORMATS, LEVELS, handler, level_of
from mqlight.server.access import Networks, is_loopback, network, refusal_to_listen
from mqlight.server.commands import destinations
from mqlight.server.console import PORT
from mqlight.server.control import Control
from mqlight.server.ibm_mq import PRODUCT, IbmMqProtocol
from mqlight.server.limits import Limits
from mqlight.server.listener import Listener
from mqlight.server.log_filter import RateLimit
from mqlight.server.protocol import ServerProtocol
from mqlight.server.store import Store, StoreError
from mqlight.server.tls import TlsError, server_context
from mqlight.server.users import UsersError, UsersFile, set_password

if TYPE_CHECKING:
    from mqlight.server.console.app import Console

_MOST_FILES = 65536


class _Variable(click.Option):
    """An option that ignores its environment variable if Kubernetes has made the variable for a Service."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        value = super().resolve_envvar_value(ctx)
        return None if value is not None and is_service_link(str(self.envvar), value) else value


class _Grouped(click.Group):
    """A command whose help lists the limits apart from the other options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        limits = {each.metadata["flag"] for each in fields(Limits)}
        for title, wanted in (("Options", False), ("Limits", True)):
            shown = [each for each in self.get_params(ctx) if (each.opts[0] in limits) is wanted]
            with formatter.section(title):
                formatter.write_dl([record for each in shown if (record := each.get_help_record(ctx))])
        self.format_commands(ctx, formatter)


def _limit_options(command: click.Group) -> click.Group:
    """Add an option for each limit."""
    for each in fields(Limits):
        about = each.metadata
        kind = click.FloatRange if isinstance(each.default, float) else click.IntRange
        command.params.append(
            click.Option(
                [about["flag"], f"limit_{each.name}"],
                default=each.default,
                type=kind(about["least"], about["most"]),
                metavar=about["unit"],
                help=about["help"],
            )
        )
    return command


@_limit_options
@click.group(
    cls=_Grouped,
    invoke_without_command=True,
    subcommand_metavar="[passwd ... | destinations ...]",
    context_settings={"show_default": True, "max_content_width": 120},
)
@click.version_option(
    message="mqlight-server %(version)s, "
    + (
        "its engine compiled"
        if COMPILED
        else "its engine in plain Python (it was installed without a C compiler, or with MACAQUE_PURE)"
    ),
    package_name="macaque-amqp",
    help="Show the version, and whether the engine is compiled, and exit.",
)
@click.option("--host", default="127.0.0.1", help="Listen on this address.")
@click.option(
    "--port",
    cls=_Variable,
    type=click.IntRange(0, 65535),
    envvar="AMQP_PORT",
    show_envvar=True,
    show_default="5672, with TLS 5671",
    help="Listen on this port. 0 picks a free port.",
)
@click.option("--users", metavar="FILE", help="Accept the users in FILE, with their permissions (docs/server.md).")
@click.option("--allow-anonymous", is_flag=True, help="Accept clients without credentials from any address.")
@click.option(
    "--trusted-network",
    multiple=True,
    metavar="NETWORK",
    help="Treat clients of NETWORK (10.1.0.0/16) like clients on this machine. May be repeated.",
)
@click.option("--tls-cert", metavar="FILE", help="Speak TLS with the certificate in FILE (PEM).")
@click.option("--tls-key", metavar="FILE", help="Read the key from FILE, if it is not in the file of the certificate.")
@click.option("--tls-client-ca", metavar="FILE", help="Demand a client certificate that the authority in FILE signed.")
@click.option(
    "--heartbeat",
    default=30.0,
    type=click.FloatRange(0.5),
    metavar="SECONDS",
    help="Close the connection of a client that is silent for SECONDS.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep durable destinations and messages in DIR. Without it, nothing survives the server.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve metrics for Prometheus at http://127.0.0.1:PORT/metrics.",
)
@click.option(
    "--console/--no-console",
    default=None,
    show_default="on, where --host is of this machine alone",
    help="Serve the web console to this machine.",
)
@click.option(
    "--console-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    show_default="9180, or the next free one",
    help="Serve the console on PORT. 0 picks a free port.",
)
@click.option("--console-admin", is_flag=True, help="Let readers of the console also send, replay, purge and drop.")
@click.option("--console-hide-bodies", is_flag=True, help="Hide the bodies of messages in the console.")
@click.option("--console-host", multiple=True, metavar="NAME", help="Accept NAME as a host name of the console.")
@click.option(
    "--console-memory",
    default=32 * 1024 * 1024,
    type=click.IntRange(1024 * 1024),
    metavar="BYTES",
    help="Let the console use at most BYTES to remember messages.",
)
@click.option(
    "--like-ibm-mq", is_flag=True, help="Apply the limits of IBM MQ's AMQP channel, to test a client against them."
)
@click.option("--verbose", is_flag=True, help="Log each connection when it opens and closes, like --log-level info.")
@click.option(
    "--log-level", type=click.Choice(LEVELS), show_default="warning", help="Log lines of this level and above."
)
@click.option("--log-format", type=click.Choice(FORMATS), default="text", help="Log lines of text or JSON objects.")
@click.pass_context
def main(
    context: click.Context,
    /,
    host: str,
    port: int | None,
    users: str | None,
    allow_anonymous: bool,
    trusted_network: tuple[str, ...],
    tls_cert: str | None,
    tls_key: str | None,
    tls_client_ca: str | None,
    heartbeat: float,
    data: Path | None,
    metrics_port: int | None,
    console: bool | None,
    console_port: int | None,
    console_admin: bool,
    console_hide_bodies: bool,
    console_host: tuple[str, ...],
    console_memory: int,
    like_ibm_mq: bool,
    verbose: bool,
    log_level: str | None,
    log_format: str,
    **limits: Any,
) -> None:
    """Run the MQ Light development server, an AMQP 1.0 broker in memory, or with --data on disk.

    By default it listens on this machine only, and accepts every client on this machine.
    """
    if context.invoked_subcommand is not None:
        return
    lines = handler(log_format)
    lines.addFilter(RateLimit())
    logging.basicConfig(level=level_of(log_level or ("info" if verbose else "warning")), handlers=[lines])
    if port is None:
        port = 5672 if tls_cert is None else 5671
    if tls_cert is None and (tls_key or tls_client_ca):
        _fail(f"{'--tls-key' if tls_key else '--tls-client-ca'} needs --tls-cert")
    networks = _networks(trusted_network)
    try:
        file = None if users is None else UsersFile(users)
        tls = None if tls_cert is None else server_context(tls_cert, tls_key, tls_client_ca)
    except (UsersError, TlsError) as error:
        _fail(str(error))
    try:
        family, address = _resolved(host, port)
        reason = refusal_to_listen(
            address[0], users=file is not None, allow_anonymous=allow_anonymous, networks=networks
        )
        if reason is not None:
            _fail(reason)
        sock = _listen(family, address)
    except OSError as error:
        reason = f"cannot listen on {host}:{port}: {error.strerror or error}"
        _fail(f"{reason}; choose another port with --port or AMQP_PORT")
    _warn(address[0], file, allow_anonymous, networks, tls is not None)
    _take_all_files()
    try:
        listener = Listener(
            sock,
            limits=Limits(**{name.removeprefix("limit_"): value for name, value in limits.items()}),
            store=None if data is None else Store(data),
            heartbeat=heartbeat,
            users=file,
            allow_anonymous=allow_anonymous,
            networks=networks,
            tls=tls,
            properties={"product": PRODUCT if like_ibm_mq else "macaque mqlight server"},
            kind=IbmMqProtocol if like_ibm_mq else ServerProtocol,
        )
    except StoreError as error:
        _fail(str(error))
    metrics = None if metrics_port is None else _metrics(listener, metrics_port)
    control = None if data is None else Control(listener.broker, listener.flush, data)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    name, port = sock.getsockname()[:2]
    listener.start()
    scheme = "amqp" if tls is None else "amqps"
    url = f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"
    wanted = console or console_port is not None
    page = None
    if wanted or (console is None and is_loopback(address[0])):
        page = _console(
            listener,
            console_port,
            wanted=wanted,
            users=file,
            admin=console_admin,
            hidden=console_hide_bodies,
            hosts=console_host,
            memory=console_memory,
            url=url,
        )
    click.echo(f"mqlight server ready at {url}")
    if metrics is not None:
        click.echo(f"figures at http://127.0.0.1:{metrics.server_port}/metrics")
    if page is not None:
        click.echo(f"console at http://127.0.0.1:{page[1]}/")
    sys.stdout.flush()
    stop.wait()
    if page is not None:
        page[0].close()
    if metrics is not None:
        metrics.stop()
    if control is not None:
        control.close()
    listener.close()


main.add_command(destinations)


@main.command(short_help="Give a user a password.", context_settings={"show_default": False})
@click.argument("users_file")
@click.argument("name")
def passwd(users_file: str, name: str) -> None:
    """Give the user NAME a password in USERS_FILE. The file is created if it is missing.

    The command asks for the password. If standard input is no terminal, it reads the password from there.
    """
    if sys.stdin.isatty():
        password = getpass(f"password for {name}: ")
        if getpass("again: ") != password:
            _fail("the two passwords differ; nothing was changed")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        new = set_password(users_file, name, password)
    except UsersError as error:
        _fail(str(error))
    if new:
        click.echo(f"{name} may send to and subscribe to every topic; edit the lines in {users_file} to narrow that")


def _metrics(listener: Listener, port: int) -> WSGIServer:
    try:
        from mqlight.server.metrics import metrics_server  # imported late: it is slow, and needs another package
    except ModuleNotFoundError:
        _fail("--metrics-port needs prometheus-client: pip install 'macaque-amqp[server,metrics]'")
    server = metrics_server(listener, port)
    try:
        server.start()
    except OSError as error:
        _fail(f"cannot listen on 127.0.0.1:{port}: {error.strerror or error}; choose another port with --metrics-port")
    return server


def _console(listener: Listener, port: int | None, *, wanted: bool, **options: Any) -> tuple[Console, int] | None:
    """Start the console. Return it with its port, or None if it cannot start and the user did not ask for it."""
    try:
        from mqlight.server.console.app import Console  # imported late: it is slow, and needs another package
    except ModuleNotFoundError as error:
        if error.name != "bottle":
            raise
        if wanted:
            _fail("the console needs Bottle: pip install 'macaque-amqp[server]'")
        return None
    console = Console(listener, **options)
    try:
        return console, console.start(port)
    except OSError as error:
        reason = f"the console cannot listen on 127.0.0.1:{port or PORT}: {error.strerror or error}"
        if wanted:
            _fail(f"{reason}; choose another port with --console-port, or say --no-console")
        click.echo(f"warning: there is no console: {reason}", err=True)
        return None


def _fail(reason: str) -> NoReturn:
    click.echo(reason, err=True)
    sys.exit(2)


def _networks(texts: tuple[str, ...]) -> Networks:
    try:
        return tuple(network(text) for text in texts)
    except ValueError as error:
        _fail(f"--trusted-network: {error}")


def _warn(address: str, users: UsersFile | None, allow_anonymous: bool, networks: Networks, tls: bool) -> None:
    if users is not None and users.is_open:
        click.echo(f"warning: other users of this machine can read {users.path}: run chmod 600 {users.path}", err=True)
    if is_loopback(address):
        return
    if allow_anonymous:
        click.echo(f"warning: every client that can reach {address} may use this server", err=True)
    elif not tls:
        trusted = "".join(f" and of {each}" for each in networks)
        click.echo(f"warning: without --tls-cert only clients on this machine{trusted} can log in", err=True)


def _take_all_files() -> None:
    """Raise the limit of open files as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return family, address


def _listen(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    return sock


if __name__ == "__main__":
    main()
