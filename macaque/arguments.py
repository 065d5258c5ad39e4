"""Checks of the arguments that calls and services have in common.

Each function returns the argument, or raises TypeError or ValueError with a sentence that names the argument.
"""

from __future__ import annotations

from mqlight.functions import unrun

__all__ = ["LONGEST", "check_callback", "checked_number", "checked_seconds", "checked_uuid"]

LONGEST = 30 * 24 * 3600
"""Seconds: MQ Light's longest time to live of a message."""
MAX_UUID = 256


def checked_seconds(seconds: object, name: str = "timeout", most: int = LONGEST) -> float:
    """Return a number of seconds that is above 0 and at most `most`."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"The {name} {seconds!r} is not a number of seconds.")
    if not 0 < seconds <= most:
        raise ValueError(f"The {name} {seconds!r} is not between 0 and {most} seconds.")
    return float(seconds)


def checked_number(number: object, name: str, least: int, most: int, meaning: str) -> int:
    """Return an int from `least` to `most`. `meaning` names the thing that it counts."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"The {name} {number!r} is not an int; give {meaning}.")
    if not least <= number <= most:
        raise ValueError(f"The {name} {number} is not between {least} and {most}.")
    return number


def checked_uuid(uuid: object) -> str:
    """Return the id that the application gives to a call."""
    if not isinstance(uuid, str):
        raise TypeError(f"The uuid {uuid!r} is not a str.")
    if not 0 < len(uuid) <= MAX_UUID or not uuid.isprintable():
        raise ValueError(f"The uuid {uuid[:80]!r} needs 1 to {MAX_UUID} characters that can be printed.")
    return uuid


def check_callback(function: object) -> None:
    """Check that calling `function` runs its code."""
    if not callable(function):
        raise TypeError(f"The callback {function!r} is not a function.")
    kind = unrun(function)
    if kind is not None:
        raise TypeError(f"The callback {function!r} is {kind}, so a call of it runs nothing: write a plain one.")
