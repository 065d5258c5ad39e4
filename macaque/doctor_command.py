"""`macaque doctor`: whether macaque's programs can work with the broker that a URL names, and what to mend if not."""

from __future__ import annotations

import logging
import os

import click

from macaque.call import checked_timeout
from macaque.doctor import ROLES, TOPIC, Doctor
from macaque.finding import Finding, Status
from macaque.terminal import broker_option, fail, print_json, quiet, unusable_broker
from mqlight.amqp import COMPILED
from mqlight.errors import InvalidArgumentError
from mqlight.service import resolve
from mqlight.wire.text import printable
from mqlight.wire.topics import is_wild, validate_topic

__all__ = ["doctor"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option(
    "--role", type=click.Choice(ROLES), default=ROLES[0], show_default=True, help="What the user is to be able to do."
)
@click.option(
    "--topic", default=TOPIC, show_default=True, metavar="TOPIC", help="Make throw-away topics below this one."
)
@click.option("--timeout", default=5.0, show_default=True, metavar="SECONDS", help="How long each step may take.")
@broker_option
def doctor(as_json: bool, role: str, topic: str, timeout: float, broker: str | None) -> None:
    """Try out what a program needs of the broker, step by step, and say what is missing.

    A URL list has commas between its URLs; each is looked at. Nothing is left behind. Status 1: something failed.
    """
    quiet()
    logging.getLogger("macaque").setLevel(logging.CRITICAL)
    findings: list[Finding] = []
    try:
        validate_topic(f"{topic}/{'x' * 20}")
        if is_wild(topic):
            raise ValueError(f"{topic!r} is a pattern; give a topic without wildcards")
        service, security = resolve(broker, None, os.environ)
        patient = Doctor(service, security, role=role, topic=topic, timeout=checked_timeout(timeout))
        for finding in patient.examine():
            if not as_json:
                if not findings or finding.url != findings[-1].url:
                    click.echo(finding.url)
                _show(finding)
            findings.append(finding)
    except InvalidArgumentError as error:
        unusable_broker(broker, error)
    except (TypeError, ValueError) as error:
        fail(2, str(error))
    except KeyboardInterrupt:
        fail(130, "interrupted")
    failed = sum(finding.status is Status.FAILED for finding in findings)
    if as_json:
        about = {"ok": not failed, "compiled": COMPILED, "findings": findings}
        print_json(about)
    else:
        click.echo(f"This program's AMQP engine is {'compiled' if COMPILED else 'plain Python'}.")
        if not failed:
            click.echo("macaque can work with this broker.")
    if failed:
        fail(1, f"{failed} of {len(findings)} steps failed")


def _show(finding: Finding) -> None:
    click.echo(f"{finding.status.value:<8} {finding.step:<12}  {printable(finding.said)}")
    if finding.advice is not None:
        click.echo(f"{'':<8} {'':<12}  -> {printable(finding.advice)}")
