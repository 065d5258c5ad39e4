"""``python -m mqlight.server``: start the development server, set its users' passwords, or drop destinations."""

from __future__ import annotations

import logging
import sys
from dataclasses import fields
from getpass import getpass
from pathlib import Path
from typing import Any

import click

try:
    from mqlight.server.program import CannotStartError, Options, Program
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "gevent":
        raise
    print("The server needs gevent, which its extra installs: pip install 'macaque-amqp[server]'", file=sys.stderr)
    sys.exit(2)

from mqlight.amqp import COMPILED
from mqlight.environment import is_service_link
from mqlight.log_format import FORMATS, LEVELS, handler, level_of
from mqlight.server.commands import destinations, fail
from mqlight.server.limits import Limits
from mqlight.server.log_filter import RateLimit
from mqlight.server.users import UsersError, set_password


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
@click.option("--console-admin", is_flag=True, help="Let readers of the console send, call, replay, purge and drop.")
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
@click.option("--leave-with-parent", is_flag=True, hidden=True)  # macaque dev
@click.option("--verbose", is_flag=True, help="Log each connection when it opens and closes, like --log-level info.")
@click.option(
    "--log-level", type=click.Choice(LEVELS), show_default="warning", help="Log lines of this level and above."
)
@click.option("--log-format", type=click.Choice(FORMATS), default="text", help="Log lines of text or JSON objects.")
@click.pass_context
def main(
    context: click.Context,
    /,
    verbose: bool,
    log_level: str | None,
    log_format: str,
    **options: Any,
) -> None:
    """Run the MQ Light development server, an AMQP 1.0 broker in memory, or with --data on disk.

    By default it listens on this machine only, and accepts every client on this machine.
    """
    if context.invoked_subcommand is not None:
        return
    lines = handler(log_format)
    lines.addFilter(RateLimit())
    logging.basicConfig(level=level_of(log_level or ("info" if verbose else "warning")), handlers=[lines])
    limits = Limits(**{each.name: options.pop(f"limit_{each.name}") for each in fields(Limits)})
    try:
        Program(Options(limits=limits, **options)).run()
    except CannotStartError as error:
        fail(str(error))


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
            fail("the two passwords differ; nothing was changed")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        new = set_password(users_file, name, password)
    except UsersError as error:
        fail(str(error))
    if new:
        click.echo(f"{name} may send to and subscribe to every topic; edit the lines in {users_file} to narrow that")


if __name__ == "__main__":
    main()
