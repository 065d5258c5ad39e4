"""The settings of an operator: one environment variable for each field, `FRONTEND_` and the field's name in capitals.

docs/web.md says what each is for. Bounds that nobody needs to change are constants beside the code that keeps them;
those of HTTP connections are in gunicorn.conf.py. Pure: the environment is an argument.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from macaque.environment import is_service_link, nearest

PREFIX = "FRONTEND_"
HOST_NAME = r"(\*|\.?[\w-]+(\.[\w-]+)*)"
NOT_OURS = {"FRONTEND_HOST": "HOST", "FRONTEND_PORT": "PORT"}

Count = Annotated[int, Meta(ge=1, le=60_000)]
Rate = Annotated[int, Meta(ge=1, le=1_000_000)]


class BadSetting(Exception):
    """The environment holds an invalid value; the sentence names the variable, the value and the fix."""


@dataclass(frozen=True)
class Settings:
    """The limits of the front end, and its surroundings. Times are in seconds, rates in requests a second."""

    word_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 60.0
    max_words: Count = 5000
    max_waiting: Count = 50_000
    max_waiting_per_session: Count = 20_000
    max_age: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    rate_per_session: Rate = 50
    rate_per_address: Rate = 500
    hosts: Annotated[str, Meta(pattern=rf"^\s*{HOST_NAME}(\s*,\s*{HOST_NAME})*\s*$")] = ""
    proxies: Annotated[int, Meta(ge=0, le=10)] = 0
    metrics: Annotated[str, Meta(pattern="^(loopback|all|off)$")] = "loopback"
    secret: Annotated[str, Meta(min_length=16)] = field(default="", repr=False)
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"
    log_format: Annotated[str, Meta(pattern="^(text|json)$")] = "text"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings of an environment; raise BadSetting. An empty variable counts as not set.

        On Cloud Foundry (`VCAP_APPLICATION`) there is one proxy, its router, unless `FRONTEND_PROXIES` says otherwise.
        """
        values: dict[str, Any] = {"proxies": 1} if "VCAP_APPLICATION" in environ else {}
        kinds = {variable(name): (name, kind) for name, kind in typing.get_type_hints(cls, include_extras=True).items()}
        for key, text in environ.items():
            if not text or not key.startswith(PREFIX) or is_service_link(key, text):
                continue
            if key not in kinds:
                meant = nearest(key, [*kinds, *NOT_OURS]) or ", ".join(kinds)
                raise BadSetting(f"There is no setting {key}: unset it, or use {NOT_OURS.get(meant, meant)}.")
            name, kind = kinds[key]
            try:
                values[name] = msgspec.convert(text, kind, strict=False)
            except msgspec.ValidationError as error:
                if name == "secret":
                    raise BadSetting(f"{key} is too short: give it at least 16 random characters.") from None
                example = getattr(cls, name) or "fish.example.com"
                raise BadSetting(f"{key}={text} is not valid ({error}): try {key}={example}.") from None
        return cls(**values)


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + name.upper()


def address(environ: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port to listen on, from `HOST` and `PORT`; raise BadSetting for a bad port.

    Without `HOST` it is 127.0.0.1, and all interfaces on Cloud Foundry (`VCAP_APPLICATION`).
    """
    host = environ.get("HOST") or ("0.0.0.0" if "VCAP_APPLICATION" in environ else "127.0.0.1")
    text = environ.get("PORT") or "8000"
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise BadSetting(f"PORT={text} is not a port: set PORT to a number from 0 to 65535, for example PORT=8000.")
    return host, int(text)
