"""`macaque dead`: show, replay or drop dead letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import click
import msgspec

from macaque.arguments import checked_seconds
from macaque.cli.terminal import Commands, broker_option, fail, json_line, mistakes, print_json, sendable
from macaque.dead_letter import DeadLetter
from macaque.dead_letters import MAX_DEAD_LETTERS, DeadLetters
from macaque.errors import ConnectionLost
from mqlight.amqp.text import printable

__all__ = ["dead"]

timeout_option = click.option(
    "--timeout", default=10.0, show_default=True, metavar="SECONDS", help="Wait at most SECONDS in all."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "everything", is_flag=True, help="Use all dead letters.")


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments of a command that works on some dead letters, or on all."""
    for each in broker_option, timeout_option, json_option, all_option, ids_argument:
        command = each(command)
    return command


@click.group(cls=Commands)
def dead() -> None:
    """Handle dead letters: requests that failed too often."""


@dead.command("list")
@json_option
@timeout_option
@broker_option
def list_(as_json: bool, timeout: float, broker: str | None) -> None:
    """List the dead letters, the oldest first."""
    with _opened(broker, timeout) as box:
        letters = box.letters
    if as_json:
        print_json([_about(letter) for letter in letters])
        return
    for letter in letters:
        about = letter.id, _time(letter), letter.endpoint, f"{letter.count}x", _one_line(letter.reason)
        click.echo("  ".join(map(printable, about)))
    if not letters:
        click.echo("There are no dead letters.", err=True)
    if len(letters) >= MAX_DEAD_LETTERS:
        click.echo(f"These are the first {MAX_DEAD_LETTERS}; there may be more.", err=True)


@dead.command()
@choosing
def show(ids: tuple[str, ...], everything: bool, as_json: bool, timeout: float, broker: str | None) -> None:
    """Print dead letters with all their properties and their data."""
    with _opened(broker, timeout) as box:
        chosen, missing = _chosen(box, ids, everything)
    letters = [letter for letter in box.letters if letter.id in chosen]
    if as_json:
        print_json([_about(letter) | {"data": sendable(letter.data)} for letter in letters])
    else:
        for letter in letters:
            for name, value in (_about(letter) | {"time": _time(letter)}).items():
                click.echo(f"{name + ':':<10}{'-' if value is None else printable(value)}")
            click.echo(f"data:     {json_line(sendable(letter.data))}\n")
    _end(missing, {})


@dead.command()
@choosing
def replay(ids: tuple[str, ...], everything: bool, as_json: bool, timeout: float, broker: str | None) -> None:
    """Send dead letters to their service again, as new requests.

    A dead letter is removed when the broker has accepted its request. No caller gets the reply.
    """
    with _opened(broker, timeout) as box:
        chosen, missing = _chosen(box, ids, everything)
        sent, failed = box.replay(chosen)
    _report("replayed", sent, failed, missing, as_json)


@dead.command()
@choosing
def drop(ids: tuple[str, ...], everything: bool, as_json: bool, timeout: float, broker: str | None) -> None:
    """Delete dead letters."""
    with _opened(broker, timeout) as box:
        chosen, missing = _chosen(box, ids, everything)
        dropped = box.drop(chosen)
    gone = dict.fromkeys(chosen - set(dropped), "the connection was lost before it was dropped")
    _report("dropped", dropped, gone, missing, as_json)


@contextmanager
def _opened(broker: str | None, timeout: float) -> Iterator[DeadLetters]:
    with mistakes(broker):
        try:
            with DeadLetters(broker, checked_seconds(timeout)) as box:
                yield box
        except ConnectionLost as error:
            fail(2, str(error))


def _chosen(box: DeadLetters, ids: tuple[str, ...], everything: bool) -> tuple[set[str], list[str]]:
    """Return the chosen ids, and the given ids for which there is no dead letter."""
    if everything == bool(ids):
        fail(2, "give the ids of dead letters, or --all; `macaque dead list` has them")
    here = {letter.id for letter in box.letters}
    return (here, []) if everything else (here & set(ids), [number for number in ids if number not in here])


def _report(what: str, done: list[str], failed: dict[str, str], missing: list[str], as_json: bool) -> None:
    if as_json:
        print_json({what: done, "failed": failed, "missing": missing})
    else:
        for number in done:
            click.echo(f"{what} {printable(number)}")
    _end(missing, failed)


def _end(missing: list[str], failed: dict[str, str]) -> None:
    """End with status 1 and one line on stderr, if any dead letter is missing or has failed."""
    said = [f"{number} was not replayed or dropped: {reason}" for number, reason in failed.items()]
    said += [f"there is no dead letter {number}" for number in missing]
    if said:
        fail(1, "; ".join(said))


def _about(letter: DeadLetter) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(letter).items() if name != "message"}


def _time(letter: DeadLetter) -> str:
    try:
        return datetime.fromtimestamp(letter.time / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return "at no known time"


def _one_line(text: str) -> str:
    return " ".join(text.split())
