"""``python -m mqlight.server``: start the development server, give its users passwords, or drop destinations."""

from __future__ import annotations

import logging
import resource
import signal
import socket
import sys
from dataclasses import fields
from getpass import getpass
from pathlib import Path
from typing import Any, NoReturn

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
from mqlight.server.access import Networks, is_loopback, network, refusal_to_listen
from mqlight.server.connection import ClientConnection
from mqlight.server.control import Control
from mqlight.server.destinations import destinations
from mqlight.server.ibm_mq import PRODUCT, IbmMqConnection
from mqlight.server.limits import Limits
from mqlight.server.listener import Listener
from mqlight.server.logs import Scarce
from mqlight.server.store import Store, StoreError
from mqlight.server.tls import TlsError, server_context
from mqlight.server.users import UsersError, UsersFile, set_password
from mqlight.wire.environment import is_service_link
from mqlight.wire.logformat import FORMATS, LEVELS, handler, level_of

_MOST_FILES = 65536


class _Variable(click.Option):
    """An option whose variable may also be one that Kubernetes makes for a Service; then it is not set."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        value = super().resolve_envvar_value(ctx)
        return None if value is not None and is_service_link(str(self.envvar), value) else value


class _Grouped(click.Group):
    """Shows its limits apart from its other options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        limits = {each.metadata["flag"] for each in fields(Limits)}
        for title, wanted in (("Options", False), ("Limits", True)):
            shown = [each for each in self.get_params(ctx) if (each.opts[0] in limits) is wanted]
            with formatter.section(title):
                formatter.write_dl([record for each in shown if (record := each.get_help_record(ctx))])
        self.format_commands(ctx, formatter)


def _limit_options(command: click.Group) -> click.Group:
    """An option for each limit."""
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
    + ("its engine compiled" if COMPILED else "its engine in plain Python (there was no C compiler, or MACAQUE_PURE)"),
    package_name="macaque-amqp",
    help="Show the version, and whether the engine is compiled.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port",
    cls=_Variable,
    type=click.IntRange(0, 65535),
    envvar="AMQP_PORT",
    show_envvar=True,
    show_default="5672, with TLS 5671",
    help="Port to listen on; 0 picks a free one.",
)
@click.option("--users", metavar="FILE", help="Who may come in, and what each may do; see docs/server.md.")
@click.option("--allow-anonymous", is_flag=True, help="Let in who logs in as nobody, from wherever.")
@click.option(
    "--trusted-network",
    multiple=True,
    metavar="NETWORK",
    help="Treat clients of this network (10.1.0.0/16) like clients on this machine; may be repeated.",
)
@click.option("--tls-cert", metavar="FILE", help="Speak TLS, with this certificate (PEM).")
@click.option("--tls-key", metavar="FILE", help="Its key, if that is in a file of its own.")
@click.option("--tls-client-ca", metavar="FILE", help="Have clients show a certificate that this authority signed.")
@click.option(
    "--heartbeat",
    default=30.0,
    type=click.FloatRange(0.5),
    metavar="SECONDS",
    help="A client that is silent for so long counts as dead.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for what is to outlive the server; without it nothing does.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve Prometheus's figures at http://127.0.0.1:PORT/metrics.",
)
@click.option(
    "--like-ibm-mq", is_flag=True, help="Have the limits of IBM MQ's AMQP channel, to see whether a client needs more."
)
@click.option("--verbose", is_flag=True, help="Log connections that come and go: --log-level info.")
@click.option("--log-level", type=click.Choice(LEVELS), show_default="warning", help="The least level that is logged.")
@click.option("--log-format", type=click.Choice(FORMATS), default="text", help="Lines of text, or JSON objects.")
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
    like_ibm_mq: bool,
    verbose: bool,
    log_level: str | None,
    log_format: str,
    **limits: Any,
) -> None:
    """The MQ Light development server: AMQP 1.0, in memory, or with --data on disk.

    It listens on this machine only, and then everybody on it may use it, unless told otherwise.
    """
    if context.invoked_subcommand is not None:
        return
    lines = handler(log_format)
    lines.addFilter(Scarce())
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
            kind=IbmMqConnection if like_ibm_mq else ClientConnection,
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
    click.echo(f"mqlight server ready at {scheme}://{f'[{name}]' if ':' in name else name}:{port}")
    if metrics is not None:
        click.echo(f"figures at http://127.0.0.1:{metrics.server_port}/metrics")
    sys.stdout.flush()
    stop.wait()
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
    """Give the user NAME a password in USERS_FILE, which is made if need be.

    It is asked for, or read from standard input where that is no terminal.
    """
    if sys.stdin.isatty():
        password = getpass(f"password for {name}: ")
        if getpass("again: ") != password:
            _fail("the two are not the same; nothing was changed")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        new = set_password(users_file, name, password)
    except UsersError as error:
        _fail(str(error))
    if new:
        click.echo(f"{name} may send to and subscribe to everything; change the lines in {users_file} to narrow it")


def _metrics(listener: Listener, port: int) -> WSGIServer:
    try:
        from mqlight.server.metrics import metrics_server  # which takes a moment, and another package
    except ModuleNotFoundError:
        _fail("--metrics-port needs prometheus-client: pip install 'macaque-amqp[server,metrics]'")
    server = metrics_server(listener, port)
    try:
        server.start()
    except OSError as error:
        _fail(f"cannot listen on 127.0.0.1:{port}: {error.strerror or error}; choose another port with --metrics-port")
    return server


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
        click.echo(f"warning: others may read the users file {users.path}; chmod 600 it", err=True)
    if is_loopback(address):
        return
    if allow_anonymous:
        click.echo(f"warning: everybody who can reach {address} may use this server", err=True)
    elif not tls:
        trusted = "".join(f" and of {each}" for each in networks)
        click.echo(f"warning: without --tls-cert only clients on this machine{trusted} can log in", err=True)


def _take_all_files() -> None:
    """As many sockets as the system lets us have."""
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
