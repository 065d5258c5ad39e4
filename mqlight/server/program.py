"""One run of the server's program: what its options ask for, from the listening socket to the console."""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIServer
from gevent.socket import wait_read

from mqlight.server.access import Networks, is_loopback, network, refusal_to_listen
from mqlight.server.console import PORT
from mqlight.server.control import Control
from mqlight.server.grants import Grants
from mqlight.server.ibm_mq import PRODUCT, IbmMqGrants
from mqlight.server.limits import Limits
from mqlight.server.listener import Listener
from mqlight.server.store import Store, StoreError
from mqlight.server.tls import TlsError, server_context
from mqlight.server.users import UsersError, UsersFile

if TYPE_CHECKING:
    from mqlight.server.console.app import Console

_MOST_FILES = 65536


class CannotStartError(Exception):
    """The server cannot do what its options ask for. The text gives the reason and the remedy."""


@dataclass(frozen=True)
class Options:
    """The options of the server. ``python -m mqlight.server --help`` describes them."""

    host: str
    port: int | None
    users: str | None
    allow_anonymous: bool
    trusted_network: tuple[str, ...]
    tls_cert: str | None
    tls_key: str | None
    tls_client_ca: str | None
    heartbeat: float
    data: Path | None
    metrics_port: int | None
    console: bool | None
    console_port: int | None
    console_admin: bool
    console_hide_bodies: bool
    console_host: tuple[str, ...]
    console_memory: int
    like_ibm_mq: bool
    limits: Limits
    leave_with_parent: bool = False
    """Whether the end of standard input ends the server: its other end is held by the process that started it."""


class Program:
    """A server with the parts that its options ask for. It listens when it is made, and serves in :meth:`run`.

    Raises:
        CannotStartError: An option cannot be followed.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        networks = _networks(options.trusted_network)
        try:
            self._users = None if options.users is None else UsersFile(options.users)
            tls = _tls(options)
        except (UsersError, TlsError) as error:
            raise CannotStartError(str(error)) from None
        sock = self._listen(networks)
        self._warn(networks)
        _take_all_files()
        try:
            store = None if options.data is None else Store(options.data)
            self._listener = Listener(
                sock,
                limits=options.limits,
                store=store,
                heartbeat=options.heartbeat,
                users=self._users,
                allow_anonymous=options.allow_anonymous,
                networks=networks,
                tls=tls,
                properties={"product": PRODUCT if options.like_ibm_mq else "macaque mqlight server"},
                grants=IbmMqGrants if options.like_ibm_mq else Grants,
            )
        except StoreError as error:
            sock.close()
            raise CannotStartError(str(error)) from None
        name, port = sock.getsockname()[:2]
        self._url = f"{'amqp' if tls is None else 'amqps'}://{f'[{name}]' if ':' in name else name}:{port}"

    def run(self) -> None:
        """Serve until SIGINT, SIGTERM, or the end of the parent. Print where the server and its pages are."""
        options, listener = self._options, self._listener
        metrics = None if options.metrics_port is None else _metrics(listener, options.metrics_port)
        control = None if options.data is None else Control(listener.broker, listener.flush, options.data)
        stop = Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, stop.set)
        if options.leave_with_parent:
            gevent.spawn(_wait_for_end_of_input).link(lambda _: stop.set())
        listener.start()
        console = self._console()
        lines = [f"mqlight server ready at {self._url}"]
        if metrics is not None:
            lines.append(f"figures at http://127.0.0.1:{metrics.server_port}/metrics")
        if console is not None:
            page = f"http://127.0.0.1:{console[1]}/"
            listener.tell_console(page)
            lines.append(f"console at {page}")
        click.echo("\n".join(lines))
        stop.wait()
        if console is not None:
            console[0].close()
        if metrics is not None:
            metrics.stop()
        if control is not None:
            control.close()
        listener.close()

    def _listen(self, networks: Networks) -> socket.socket:
        """Return the listening socket, unless clients elsewhere could use it without logging in."""
        options = self._options
        port = options.port if options.port is not None else 5672 if options.tls_cert is None else 5671
        try:
            family, _, _, _, address = socket.getaddrinfo(
                options.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._address = str(address[0])
            reason = refusal_to_listen(
                self._address,
                users=self._users is not None,
                allow_anonymous=options.allow_anonymous,
                networks=networks,
            )
            if reason is not None:
                raise CannotStartError(reason)
            return _bound(family, address)
        except OSError as error:
            reason = f"cannot listen on {options.host}:{port}: {error.strerror or error}"
            raise CannotStartError(f"{reason}; choose another port with --port or AMQP_PORT") from None

    def _warn(self, networks: Networks) -> None:
        users, address = self._users, self._address
        if users is not None and users.is_open:
            _warning(f"other users of this machine can read {users.path}: run chmod 600 {users.path}")
        if is_loopback(address):
            return
        if self._options.allow_anonymous:
            _warning(f"every client that can reach {address} may use this server")
        elif self._options.tls_cert is None:
            trusted = "".join(f" and of {each}" for each in networks)
            _warning(f"without --tls-cert only clients on this machine{trusted} can log in")

    def _console(self) -> tuple[Console, int] | None:
        """Start the console. Return it with its port, or None if it cannot start and the user did not ask for it."""
        options = self._options
        wanted = bool(options.console) or options.console_port is not None
        if not wanted and (options.console is False or not is_loopback(self._address)):
            return None
        try:
            from mqlight.server.console.app import Console  # imported late: it is slow, and needs another package
        except ModuleNotFoundError as error:
            if error.name != "bottle":
                raise
            if wanted:
                raise CannotStartError("the console needs Bottle: pip install 'macaque-amqp[server]'") from None
            return None
        console = Console(
            self._listener,
            users=self._users,
            admin=options.console_admin,
            hidden=options.console_hide_bodies,
            hosts=options.console_host,
            memory=options.console_memory,
            url=self._url,
        )
        try:
            return console, console.start(options.console_port)
        except OSError as error:
            port = options.console_port or PORT
            reason = f"the console cannot listen on 127.0.0.1:{port}: {error.strerror or error}"
            if wanted:
                remedy = "choose another port with --console-port, or say --no-console"
                raise CannotStartError(f"{reason}; {remedy}") from None
            _warning(f"there is no console: {reason}")
            return None


def _wait_for_end_of_input() -> None:
    while True:
        wait_read(0)
        if not os.read(0, 1024):
            return


def _warning(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


def _networks(texts: tuple[str, ...]) -> Networks:
    try:
        return tuple(network(text) for text in texts)
    except ValueError as error:
        raise CannotStartError(f"--trusted-network: {error}") from None


def _tls(options: Options) -> ssl.SSLContext | None:
    if options.tls_cert is not None:
        return server_context(options.tls_cert, options.tls_key, options.tls_client_ca)
    if options.tls_key or options.tls_client_ca:
        raise CannotStartError(f"{'--tls-key' if options.tls_key else '--tls-client-ca'} needs --tls-cert")
    return None


def _bound(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    return sock


def _take_all_files() -> None:
    """Raise the limit of open files as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _metrics(listener: Listener, port: int) -> WSGIServer:
    try:
        from mqlight.server.metrics import metrics_server  # imported late: it is slow, and needs another package
    except ModuleNotFoundError:
        reason = "--metrics-port needs prometheus-client: pip install 'macaque-amqp[server,metrics]'"
        raise CannotStartError(reason) from None
    server = metrics_server(listener, port)
    try:
        server.start()
    except OSError as error:
        reason = f"cannot listen on 127.0.0.1:{port}: {error.strerror or error}"
        raise CannotStartError(f"{reason}; choose another port with --metrics-port") from None
    return server
