"""The broker that a program uses: its argument, else the environment, else this machine.

The environment is an argument. No text that this module produces contains a password.
"""

from __future__ import annotations

from collections.abc import Mapping

from macaque.bindings import bound_service
from mqlight.addresses import Addresses
from mqlight.amqp.text import nearest, printable
from mqlight.environment import is_service_link
from mqlight.errors import InvalidArgumentError
from mqlight.security import Security
from mqlight.urls import split_list

__all__ = ["DEFAULT_BROKER", "from_environment", "resolve"]

DEFAULT_BROKER = "amqp://127.0.0.1:5672"


def from_environment(environ: Mapping[str, str]) -> tuple[str | list[str], dict[str, str]] | None:
    """Return (service, security_options) of the messaging service that the environment names, or None if it names none.

    The services that Cloud Foundry has bound (`VCAP_SERVICES`, see `macaque.bindings`) come first, then
    `mqlight_lookup_url`, `mqlight_user` and `mqlight_password`.

    Raises:
        InvalidArgumentError: Cloud Foundry does not write such a `VCAP_SERVICES`, or none of the bound services is a
            messaging service.
    """
    bound, lacking = bound_service(environ.get("VCAP_SERVICES", ""))
    if bound is not None:
        return bound.service, bound.security
    url = environ.get("mqlight_lookup_url")
    if url:
        named = {"user": environ.get("mqlight_user"), "password": environ.get("mqlight_password")}
        return url, {name: value for name, value in named.items() if value}
    if lacking is not None:
        raise InvalidArgumentError(
            f"No service in VCAP_SERVICES is a messaging service: {lacking}; bind one, or set MACAQUE_BROKER",
            argument="VCAP_SERVICES",
        )
    return None


def resolve(
    broker: object, security_options: Mapping[str, object] | None, environ: Mapping[str, str]
) -> tuple[Addresses, Security]:
    """Return the service to use: `broker`, else `MACAQUE_BROKER` (URLs with commas between them), else the service
    that the environment names (`from_environment`), else `amqp://127.0.0.1:5672`.

    The security options that are given take precedence over those of the environment.

    Raises:
        TypeError, InvalidArgumentError: as in `Addresses.of`, `Security.of` and `from_environment`.
    """
    named: dict[str, object] = {}
    if broker is None:
        broker = split_list(environ.get("MACAQUE_BROKER", ""))
        if not broker:
            _check_spelling(environ)
            found = from_environment(environ)
            broker = DEFAULT_BROKER
            if found is not None:
                broker, named = found[0], {**found[1]}
    if isinstance(security_options, Mapping):
        security = Security.of({**named, **security_options})
    else:
        security = Security.of(named if security_options is None else security_options)
    return Addresses.of(broker, security), security


def _check_spelling(environ: Mapping[str, str]) -> None:
    """Raise InvalidArgumentError if a variable looks like a misspelt `MACAQUE_BROKER` and that variable is not set."""
    for name, value in environ.items():
        prefix, _, rest = name.partition("_")
        if value and prefix.upper() == "MACAQUE" and name != "MACAQUE_BROKER" and not is_service_link(name, value):
            if nearest(rest, ["BROKER"], 0.75):
                raise InvalidArgumentError(
                    f"There is no variable {printable(name, 80)}; did you mean MACAQUE_BROKER?",
                    argument="broker",
                )
