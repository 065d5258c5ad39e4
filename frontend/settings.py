"""What an operator can set: one environment variable for each field, `FRONTEND_` and the field's name in capitals.

Pure: the environment comes in as an argument.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "FRONTEND_"
LEAST_SECRET = 16


class BadSetting(Exception):
    """A variable of the environment says what cannot work; the sentence names it, its value and what would be right."""


def number(default: float, least: float, most: float) -> Any:
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True)
class Settings:
    """The limits of the front end, and what it should know of what stands before it. Times are in seconds."""

    max_connections: int = number(5000, 1, 100_000)
    """Connections open at a time; more wait until one ends."""
    max_connections_per_address: int = number(500, 1, 100_000)
    """Of them, from one address; more are refused. Behind a proxy, whose address all have, it does not count."""
    max_headers: int = number(16_384, 1024, 1_048_576)
    """Bytes of the headers of a request."""
    max_body: int = number(65_536, 16, 16_777_216)
    """Bytes of the body of a request."""
    idle_timeout: float = number(75.0, 0.1, 3600)
    """Seconds that a connection may wait for its next request."""
    header_timeout: float = number(10.0, 0.1, 3600)
    """Seconds from the first byte of a request (from the connection, for the first one) to the end of its headers."""
    body_timeout: float = number(20.0, 0.1, 3600)
    """Seconds for the body of a request."""
    send_timeout: float = number(20.0, 0.1, 3600)
    """Seconds for the client to take a response."""
    max_words: int = number(5000, 1, 1_000_000)
    """Words in a sentence."""
    max_word: int = number(1000, 1, 1_000_000)
    """Characters in a word."""
    word_timeout: float = number(60.0, 0.1, 3600)
    """Seconds that a word has for its answer; it waits that long for a worker to come back."""
    max_in_flight: int = number(20_000, 1, 60_000)
    """Words that are out with workers, of all sessions together."""
    max_sessions: int = number(10_000, 1, 1_000_000)
    """Sessions that have words which are out or not fetched."""
    max_buffer: int = number(134_217_728, 1000, 2**40)
    """Room for all words that are out or not fetched, in characters; a word takes its length and 200 more."""
    max_buffer_per_session: int = number(16_777_216, 1000, 2**40)
    """Room for those of one session."""
    max_age: float = number(600.0, 1, 86_400)
    """Seconds that a reply waits to be fetched."""
    max_polls: int = number(2000, 1, 100_000)
    """Polls held at a time."""
    max_polls_per_session: int = number(8, 1, 100_000)
    """Polls held for one session, or for one address of clients without a session."""
    rate_per_session: float = number(50.0, 0.1, 1_000_000)
    """Requests a second, on average, of one session. A poll that brings a word is free."""
    rate_per_address: float = number(500.0, 0.1, 1_000_000)
    """Requests a second, on average, from one address (from one network of 2^64, for IPv6)."""
    proxies: int = number(0, 0, 10)
    """Proxies before the front end whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are believed."""
    metrics: str = field(default="loopback", metadata={"choices": ("loopback", "all", "off")})
    """Who may read /metrics: this machine's own clients, everybody, or nobody."""
    secret: str = field(default="", repr=False, metadata={"secret": True})
    """What session cookies are signed with; without it each process makes its own."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings of an environment; raise BadSetting. A variable that is empty counts as not set.

        On Cloud Foundry (`VCAP_APPLICATION`) there is one proxy, its router, unless `FRONTEND_PROXIES` says otherwise.
        """
        values: dict[str, Any] = {"proxies": 1} if "VCAP_APPLICATION" in environ else {}
        known = {variable(each.name): each for each in dataclasses.fields(cls)}
        for name, text in environ.items():
            if name.startswith(PREFIX) and text:
                if name not in known:
                    raise BadSetting(f"There is no setting {name}: unset it, or use one of {', '.join(known)}.")
                values[known[name].name] = parsed(known[name], name, text)
        return cls(**values)


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + name.upper()


def parsed(setting: dataclasses.Field[Any], name: str, text: str) -> Any:
    meta = setting.metadata
    if "secret" in meta:
        if len(text) < LEAST_SECRET:
            raise BadSetting(f"{name} is too short: give it at least {LEAST_SECRET} characters that nobody can guess.")
        return text
    if "choices" in meta:
        if text not in meta["choices"]:
            raise BadSetting(f"{name}={text} is not one of {', '.join(meta['choices'])}: try {name}={setting.default}.")
        return text
    kind = int if isinstance(setting.default, int) else float
    try:
        value: float = kind(text)
    except ValueError:
        value = math.nan
    if not meta["least"] <= value <= meta["most"]:
        numbers = "a whole number" if kind is int else "a number"
        bounds = f"from {meta['least']} to {meta['most']}"
        raise BadSetting(f"{name}={text} is not {numbers} {bounds}: try {name}={setting.default}.")
    return value
