"""The settings of an operator: one environment variable for each field, `FRONTEND_` and the field's name in capitals.

docs/web.md explains each setting. Limits that need no change are constants in the code that applies them; those of HTTP
connections are in gunicorn.conf.py. Pure: the environment is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated

import msgspec
from msgspec import Meta

from macaque.environment import is_service_link, nearest

PREFIX = "FRONTEND_"
NOT_OURS = {"FRONTEND_HOST": "HOST", "FRONTEND_PORT": "PORT"}
EXAMPLES = {"hosts": "fish.example.com", "secret": "(16 random characters or more)"}
HOST_NAME = r"(\*|\.?[\w-]+(\.[\w-]+)*)"

Count = Annotated[int, Meta(ge=1, le=60_000)]
Rate = Annotated[int, Meta(ge=1, le=1_000_000)]


class BadSetting(Exception):
    """The environment has an invalid value. The sentence names the variable, the value and the fix."""


@dataclass(frozen=True)
class Settings:
    """The limits and the environment of the front end. Times are in seconds, rates in requests per second."""

    word_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 60.0
    max_words: Count = 5000
    max_waiting: Count = 50_000
    max_waiting_per_session: Count = 20_000
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
        """Return the settings of an environment. Raises BadSetting. An empty variable counts as not set.

        On Cloud Foundry (`VCAP_APPLICATION`) there is one proxy, its router, unless `FRONTEND_PROXIES` says otherwise.
        """
        known = {PREFIX + each.name.upper(): each.name for each in fields(cls)}
        found = {"proxies": "1"} if "VCAP_APPLICATION" in environ else {}
        for key, text in environ.items():
            if text and key.startswith(PREFIX) and not is_service_link(key, text):
                if key not in known:
                    meant = NOT_OURS.get(key) or nearest(key, known) or ", ".join(known)
                    raise BadSetting(f"There is no setting {key}: unset it, or use {meant}.")
                found[known[key]] = text
        try:
            return msgspec.convert(found, cls, strict=False)
        except msgspec.ValidationError as error:
            reason, _, name = str(error).rstrip("`").rpartition(" - at `$.")
            key, value = PREFIX + name.upper(), "" if name == "secret" else f"={found[name]}"
            example = EXAMPLES.get(name) or getattr(cls, name)
            raise BadSetting(f"{key}{value} is not valid ({reason}): try {key}={example}.") from None


def address(environ: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port to listen on, from `HOST` and `PORT`. Raises BadSetting for an invalid port.

    Without `HOST` the host is 127.0.0.1; on Cloud Foundry (`VCAP_APPLICATION`) it is all interfaces.
    """
    host = environ.get("HOST") or ("0.0.0.0" if "VCAP_APPLICATION" in environ else "127.0.0.1")
    text = environ.get("PORT") or "8000"
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise BadSetting(f"PORT={text} is not a port: set PORT to a number from 0 to 65535, for example PORT=8000.")
    return host, int(text)
