"""`macaque docs`: documents about services, for people and programs."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec

from macaque.cli.calling import opened
from macaque.cli.loading import load, target_of
from macaque.cli.services import ask_servers, window_option
from macaque.cli.terminal import broker_option, check_broker, fail, indented_json
from macaque.observe.info import ServiceInfo, describe
from macaque.specs.asyncapi import asyncapi
from macaque.specs.openapi import openapi
from macaque.specs.page import page

__all__ = ["docs"]

GATEWAY = "http://127.0.0.1:8080"
"""The address of `macaque gateway` without options."""


@click.command()
@click.argument("app", required=False, metavar="[MODULE[:APP]]")
@click.option("--openapi", "http_side", is_flag=True, help="Describe the HTTP side: OpenAPI 3.1 instead of AsyncAPI.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "yaml", "html"]),
    default="json",
    show_default=True,
    help="The form of the document. html is one page that needs no other file.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE, completely or not at all. [default: standard output]",
)
@click.option("--title", metavar="TEXT", help="The title of the document. [default: the name of the module]")
@click.option("--version", default="0.1.0", show_default=True, metavar="TEXT", help="The version of the document.")
@click.option(
    "--url", metavar="URL", help="The URL at which HTTP serves the services. With it, the page shows calls with curl."
)
@click.option("--tokens", is_flag=True, help="Say that a request over HTTP needs a bearer token.")
@window_option
@broker_option
def docs(
    app: str | None,
    http_side: bool,
    form: str,
    output: Path | None,
    title: str | None,
    version: str,
    url: str | None,
    tokens: bool,
    timeout: float,
    broker: str | None,
) -> None:
    """Write a document about the services of APP: AsyncAPI 3.0, OpenAPI 3.1, or a page for people.

    APP is a macaque.Server in MODULE, or a function that returns one. It may be left out if MODULE has one server, or
    one with the name app. MODULE may be the path of a file. The server is not started.

    Without MODULE, the document is about the services that run: the command asks all servers at the broker.
    """
    if form == "yaml" and importlib.util.find_spec("yaml") is None:
        fail(2, "--format yaml needs PyYAML: pip install 'macaque-amqp[yaml]'")
    check_broker(broker)
    services = _of_app(app) if app is not None else _of_broker(broker, timeout)
    named = "Services" if app is None else target_of(app).module
    told: dict[str, Any] = {"title": title or named, "version": version}
    if form == "html":
        text = page(services, amqp=not http_side, http=url or (GATEWAY if http_side else None), tokens=tokens, **told)
    elif http_side:
        text = _written(openapi(services, server_url=url, tokens=tokens, **told), form)
    else:
        text = _written(asyncapi(services, broker=broker, **told), form)
    if output is None:
        click.echo(text.rstrip("\n"))
    else:
        _replace(output, text)


def _of_app(app: str) -> list[ServiceInfo]:
    """Return the services of a server that does not run."""
    server = load(app)
    try:
        return [describe(server._settled(service)) for service in server._registry]
    except (TypeError, ValueError) as error:  # an invalid setting or annotation
        fail(2, str(error))


def _of_broker(broker: str | None, timeout: float) -> list[ServiceInfo]:
    """Return the services of all servers at the broker."""
    with opened(broker, timeout) as client:
        servers = ask_servers(client, timeout, None, detail="info")
    return [service for server in servers for service in server.services or ()]


def _written(document: dict[str, Any], form: str) -> str:
    """Return a document as JSON or YAML."""
    if form == "json":
        return indented_json(document) + "\n"
    import yaml

    plain = msgspec.json.decode(msgspec.json.encode(document))  # no part occurs twice, so that YAML needs no anchors
    return str(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=120))


def _replace(file: Path, text: str) -> None:
    """Write a file completely, or leave it as it is. A pipe or a device is written directly."""
    try:
        if file.exists() and not file.is_file():
            file.write_text(text, encoding="utf-8")
            return
        file = file.resolve()
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask()
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as new:
                new.write(text)
            os.chmod(name, mode)
            os.replace(name, file)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        fail(2, f"{file} cannot be written: {error.strerror or error}")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
