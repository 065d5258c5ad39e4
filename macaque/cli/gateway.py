"""`macaque gateway`: HTTP for services on the broker."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import sys
from typing import Any

import click
import msgspec

from macaque.broker import resolve
from macaque.cli.terminal import broker_option, fail, unusable_broker
from macaque.gateway.settings import Settings
from macaque.gateway.tokens import VARIABLE, Tokens
from macaque.logs import FORMATS, LEVELS
from mqlight.errors import InvalidArgumentError

__all__ = ["gateway"]

NEEDED = ("gunicorn", "gevent", "limits", "werkzeug")
DEFAULT = Settings()

Count = click.IntRange(1, 60_000)
Seconds = click.FloatRange(0.1, 30 * 24 * 3600)


@click.command()
@click.option(
    "--allow",
    multiple=True,
    metavar="PATTERN",
    help="Let callers call the topics of PATTERN. May be given several times.",
)
@click.option(
    "--subscribe", multiple=True, metavar="PATTERN",
    help="Let callers read the messages to the topics of PATTERN. May be given several times.",
)  # fmt: skip
@click.option(
    "--host", envvar="HOST", default=DEFAULT.host, show_default=True, metavar="ADDRESS", help="Listen on ADDRESS."
)
@click.option(
    "--port", envvar="PORT", type=click.IntRange(0, 65535), default=DEFAULT.port, show_default=True,
    metavar="PORT", help="Listen on PORT of the address. 0 picks a free port.",
)  # fmt: skip
@broker_option
@click.option(
    "--tokens", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="Only callers with a token of FILE. A line is NAME TOKEN [PATTERN ...].",
)  # fmt: skip
@click.option("--public", is_flag=True, help="Anyone who reaches the gateway may call.")
@click.option(
    "--hostname", "hostnames", multiple=True, metavar="NAME",
    help="Answer only requests for the host NAME, or below .NAME. May be given several times.",
)  # fmt: skip
@click.option("--cors", multiple=True, metavar="ORIGIN", help="Let pages of ORIGIN call. May be given several times.")
@click.option(
    "--page", type=click.Path(exists=True, file_okay=False), metavar="FOLDER", help="Serve the files of FOLDER at /."
)
@click.option("--docs/--no-docs", default=True, show_default=True, help="Describe the services at / and /openapi.json.")
@click.option(
    "--timeout", type=Seconds, default=DEFAULT.timeout, show_default=True, metavar="SECONDS",
    help="A call takes at most SECONDS.",
)  # fmt: skip
@click.option(
    "--stream-timeout", type=Seconds, default=DEFAULT.stream_timeout, show_default=True, metavar="SECONDS",
    help="A stream of a service takes at most SECONDS.",
)  # fmt: skip
@click.option(
    "--max-body", type=click.IntRange(0, 2**31), default=DEFAULT.max_body, show_default=True, metavar="BYTES",
    help="The body of a request has at most BYTES.",
)  # fmt: skip
@click.option("--rate", metavar="RATE", help="Requests of each token or address, such as 100/second. [default: any]")
@click.option(
    "--calls", type=Count, default=DEFAULT.calls, show_default=True, metavar="COUNT",
    help="Each worker has at most COUNT calls at a time.",
)  # fmt: skip
@click.option(
    "--streams", type=Count, default=DEFAULT.streams, show_default=True, metavar="COUNT",
    help="Each worker holds at most COUNT streams.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 1000), default=1, show_default=True, metavar="COUNT",
    help="Run COUNT processes.",
)  # fmt: skip
@click.option(
    "--proxies", type=click.IntRange(0, 10), metavar="COUNT",
    help="Trust the X-Forwarded headers of COUNT proxies. [default: 0, and 1 on Cloud Foundry]",
)  # fmt: skip
@click.option(
    "--drain-timeout", type=click.FloatRange(min=0), default=DEFAULT.drain_timeout, show_default=True,
    metavar="SECONDS", help="At the end, wait at most SECONDS for running calls.",
)  # fmt: skip
@click.option(
    "--health-port", type=click.IntRange(0, 65535), metavar="PORT",
    help="Serve /healthz, /readyz and /metrics over HTTP on PORT. 0 picks a free port. [default: no health port]",
)  # fmt: skip
@click.option(
    "--health-host", default=DEFAULT.health_host, show_default=True, metavar="ADDRESS",
    help="The address of the health port.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(LEVELS), default=DEFAULT.log_level, show_default=True,
    help="Log lines of this level and above.",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(FORMATS), default=DEFAULT.log_format, show_default=True,
    help="Log lines of text or JSON objects.",
)  # fmt: skip
@click.option("--leave-with-parent", is_flag=True, hidden=True)  # macaque dev
def gateway(broker: str | None, proxies: int | None, **options: Any) -> None:
    """Serve HTTP for services on the broker, until Ctrl-C or SIGTERM.

    POST /TOPIC with JSON calls the service at TOPIC. Only the topics of --allow can be called. Without tokens, only
    programs of this machine can call, unless --public is given.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        fail(2, f"macaque gateway needs {' and '.join(missing)}: pip install 'macaque-amqp[gateway]'")
    if broker is not None:
        os.environ["MACAQUE_BROKER"] = broker
    on_cloud_foundry = "VCAP_APPLICATION" in os.environ
    settings = Settings(proxies=int(on_cloud_foundry) if proxies is None else proxies, **options)
    _check(settings, broker)
    if settings.health_port:
        _listen(settings.health_host, settings.health_port, "--health-port").close()
    listening = _listen(settings.host, settings.port, "--port")
    os.set_inheritable(listening.fileno(), True)
    sys.stdout.flush()
    python = [sys.executable, "-m", "gevent.monkey", "--module", "macaque.gateway"]
    os.execv(sys.executable, [*python, str(listening.detach()), msgspec.json.encode(settings).decode()])


def _check(settings: Settings, broker: str | None) -> None:
    """End the command unless a gateway can start with these settings."""
    from macaque.gateway.rates import parse

    try:
        resolve(None, None, os.environ)
        settings.check(bool(Tokens(settings.tokens, os.environ.get(VARIABLE, ""))))
    except InvalidArgumentError as error:
        unusable_broker(broker, error)
    except (TypeError, ValueError) as error:
        fail(2, str(error))
    if settings.rate is not None:
        try:
            parse(settings.rate)
        except ValueError:
            fail(2, f"--rate {settings.rate} is not a rate; one is 100/second, another one 5000/hour")


def _listen(host: str, port: int, option: str) -> socket.socket:
    """Return a socket that listens. Without it, end the command."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (")[0]
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            name = option.replace("port", "host")
            fail(2, f"{name} {host} cannot be used ({reason}): give an address of this machine, such as 127.0.0.1")
        fail(2, f"port {port} of {host} cannot be used ({reason}): try another one, as in {option} {port % 65535 + 1}")
