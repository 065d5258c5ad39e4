"""`macaque doctor`: a test whether macaque's programs can work with the broker at a URL, with the remedies if not."""

from __future__ import annotations

import logging
import os

import click

from macaque.arguments import checked_seconds
from macaque.broker import resolve
from macaque.cli.terminal import broker_option, fail, mistakes, print_json
from macaque.doctor.examination import ROLES, TOPIC, Examination
from macaque.doctor.finding import Finding, Status
from mqlight.amqp import COMPILED
from mqlight.amqp.text import printable
from mqlight.amqp.topics import is_wild, validate_topic

__all__ = ["doctor"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default=ROLES[0],
    show_default=True,
    help="Test the permissions of a caller, of a service, or both.",
)
@click.option("--topic", default=TOPIC, show_default=True, metavar="TOPIC", help="Create the test topics below TOPIC.")
@click.option("--timeout", default=5.0, show_default=True, metavar="SECONDS", help="Wait at most SECONDS in each step.")
@broker_option
def doctor(as_json: bool, role: str, topic: str, timeout: float, broker: str | None) -> None:
    """Test everything that a program needs of the broker.

    Each step prints a result, and the remedy if it fails. In a list of URLs with commas between them, each URL is
    tested. The test topics are deleted at the end. The exit code is 1 if a step failed.
    """
    logging.getLogger("macaque").setLevel(logging.CRITICAL)
    findings: list[Finding] = []
    with mistakes(broker):
        validate_topic(f"{topic}/{'x' * 20}")
        if is_wild(topic):
            raise ValueError(f"{topic!r} is a pattern; give a topic without wildcards")
        service, security = resolve(broker, None, os.environ)
        examination = Examination(service, security, role=role, topic=topic, timeout=checked_seconds(timeout))
        for finding in examination.examine():
            if not as_json:
                if not findings or finding.url != findings[-1].url:
                    click.echo(finding.url)
                _show(finding)
            findings.append(finding)
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
