"""``python -m mqlight.server``: start the development server."""

from __future__ import annotations

import logging
import signal
import socket
import sys

import click
import gevent
from gevent.event import Event

from mqlight.server.broker import Limits
from mqlight.server.listener import Listener

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command(context_settings={"show_default": True})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port",
    default=5672,
    type=click.IntRange(0, 65535),
    envvar="AMQP_PORT",
    show_envvar=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--max-message-size",
    default=16 * 1024 * 1024,
    type=click.IntRange(1024),
    metavar="BYTES",
    help="The largest message that is taken.",
)
@click.option(
    "--max-queue-messages",
    default=Limits.queue_messages,
    type=click.IntRange(1),
    metavar="N",
    help="How many messages may wait in one destination.",
)
@click.option(
    "--max-queue-bytes",
    default=Limits.queue_bytes,
    type=click.IntRange(1024),
    metavar="BYTES",
    help="How many bytes may wait in one destination.",
)
@click.option(
    "--heartbeat",
    default=30.0,
    type=click.FloatRange(0.5),
    metavar="SECONDS",
    help="A client that is silent for so long counts as dead.",
)
@click.option("--verbose", is_flag=True, help="Log connections that come and go.")
def main(
    host: str,
    port: int,
    max_message_size: int,
    max_queue_messages: int,
    max_queue_bytes: int,
    heartbeat: float,
    verbose: bool,
) -> None:
    """The MQ Light development server: AMQP 1.0, in memory.

    Anybody who can reach it may use it, so it listens on this machine only unless told otherwise.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        sock = _listen(host, port)
    except OSError as error:
        click.echo(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another port with --port or AMQP_PORT",
            err=True,
        )
        sys.exit(2)
    if host not in _LOOPBACK:
        click.echo(f"warning: everybody who can reach {host} may use this server", err=True)
    listener = Listener(
        sock,
        limits=Limits(max_queue_messages, max_queue_bytes),
        heartbeat=heartbeat,
        max_message_size=max_message_size,
        properties={"product": "macaque mqlight server"},
    )
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    name, port = sock.getsockname()[:2]
    listener.start()
    click.echo(f"mqlight server ready at amqp://{f'[{name}]' if ':' in name else name}:{port}")
    sys.stdout.flush()
    stop.wait()
    listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
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
