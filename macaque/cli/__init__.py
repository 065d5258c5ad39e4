"""The `macaque` command.

An error is one line on stderr. The exit code is 2 if the command or its environment is wrong, and 1 if the call failed.
"""

from __future__ import annotations

import click

from macaque.cli import (
    bench,
    call,
    dead,
    dev,
    docs,
    doctor,
    gateway,
    gather,
    new,
    notify,
    run,
    services,
    stream,
    sub,
    top,
)
from macaque.cli.terminal import Commands

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="macaque-amqp")
def main() -> None:
    """Microservices over AMQP 1.0."""


for command in (
    bench.bench,
    call.call,
    dead.dead,
    dev.dev,
    docs.docs,
    doctor.doctor,
    gateway.gateway,
    gather.gather,
    new.new,
    notify.notify,
    run.run,
    services.ping,
    services.services,
    stream.stream,
    sub.sub,
    top.top,
):
    main.add_command(command)
