"""The settings of a server: a mapping that the application fills, and that the environment overrides.

The server uses `MACAQUE_BROKER`, `MACAQUE_CREDIT`, `MACAQUE_TIMEOUT` and `MACAQUE_HTTP_...` itself. Settings of the
application's own may have any other upper-case name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import msgspec

from macaque.arguments import checked_number, checked_seconds
from macaque.environment import is_service_link, nearest
from macaque.registry import MAX_CREDIT
from mqlight.amqp.text import printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["CREDIT", "Config", "broker_of", "credit_of", "timeout_of"]

PREFIX = "MACAQUE_"
CREDIT = 5
"""The number of requests of a service that run at a time, if neither the service nor a setting tells it."""
KNOWN = ("BROKER", "CREDIT", "HTTP_MAX_BODY", "HTTP_STREAM_TIMEOUT", "HTTP_TIMEOUT", "TIMEOUT")
"""The settings that a server uses itself."""


class Config(MutableMapping[str, Any]):
    """The settings of a server, by their upper-case names. The environment comes first: `MACAQUE_CREDIT` for `CREDIT`.

    The value of a variable is its JSON, or its text if it is no JSON. The server itself uses these, when it starts:

    - `BROKER`: the URL of the broker, if the server is given none.
    - `CREDIT`: the requests of a service that run at a time, for services that do not tell it.
    - `TIMEOUT`: the seconds that a function has for a request, for services that do not tell it.
    - `HTTP_TIMEOUT`, `HTTP_STREAM_TIMEOUT`, `HTTP_MAX_BODY`: the limits of `app.wsgi` and `app.asgi`. These read them
      the first time.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        text = self._environ.get(f"{PREFIX}{name}", "")
        if not text or is_service_link(f"{PREFIX}{name}", text):
            return self._values[name]
        if name == "BROKER":
            return text
        try:
            return msgspec.json.decode(text)
        except ValueError:
            return text

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"The name of a setting is a str such as 'CREDIT', not {name!r}.")
        if name != name.upper():
            raise ValueError(f"The names of settings have upper case: write {name.upper()!r}, not {name!r}.")
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        named = [name.removeprefix(PREFIX) for name in self._environ if name.startswith(PREFIX)]
        return iter([name for name in dict.fromkeys([*self._values, *named]) if name in self])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<macaque.Config {', '.join(self)}>"  # without values, which may be secret

    def from_mapping(self, mapping: Mapping[str, Any] | None = None, **settings: Any) -> None:
        """Take settings from `mapping` and by name: `app.config.from_mapping(CREDIT=20)`.

        Raises:
            TypeError, ValueError: a name is invalid.
        """
        for name, value in {**(mapping or {}), **settings}.items():
            self[name] = value

    def from_toml(self, path: str | Path, table: str = "macaque") -> None:
        """Take the settings of a table of a TOML file, whose names may have lower case: `credit = 20`.

        Args:
            path: the file.
            table: the name of the table, with dots for a table in a table: "tool.macaque".

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not TOML, or has no such table.
        """
        try:
            found: Any = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not TOML: {error}.") from error
        for part in table.split("."):
            found = found.get(part)
            if not isinstance(found, dict):
                raise ValueError(f"{path} has no table [{table}].")
        self.from_mapping({name.upper(): value for name, value in found.items()})


def broker_of(config: Config) -> Any:
    """Return the broker, or None. Raises ValueError: a variable looks like a misspelt setting."""
    for name, value in config._environ.items():
        rest = name.removeprefix(PREFIX)
        if value and rest != name and rest not in KNOWN and rest not in config._values:
            if (known := nearest(rest, KNOWN, 0.9)) is not None:
                raise ValueError(f"There is no variable {printable(name, 80)}; did you mean {PREFIX}{known}?")
    return config.get("BROKER")


def credit_of(config: Config) -> int:
    """Return the setting CREDIT. Raises TypeError or ValueError: it is no number of requests."""
    meaning = "how many requests of a service may be in work at a time"
    return checked_number(config.get("CREDIT", CREDIT), "setting CREDIT", 1, MAX_CREDIT, meaning)


def timeout_of(config: Config) -> float | None:
    """Return the setting TIMEOUT. Raises TypeError or ValueError: it is no number of seconds."""
    timeout = config.get("TIMEOUT")
    return None if timeout is None else checked_seconds(timeout, "setting TIMEOUT")
