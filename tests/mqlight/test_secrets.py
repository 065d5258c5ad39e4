"""A password given to a client is in nothing that it says, whatever goes wrong."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import macaque
import mqlight
from mqlight.addresses import Addresses, Endpoint, Lookup
from mqlight.connection import Connection
from mqlight.errors import MQLightError
from mqlight.security import Security
from processes import wait_until
from shown import shown

SECRET = "tr0ub4dor"


@pytest.mark.parametrize(
    "service",
    [
        f"amqp://fish:{SECRET}@127.0.0.1:1",
        f"amqp://fish:{SECRET}@127.0.0.1:99999",
        f"amqp://fish:{SECRET}@127.0.0.1:1/path",
        f"amqp://fish:{SECRET}@127.0.0.1:1?x",
        f"amqp://{SECRET}@127.0.0.1",
        f"amqp://:{SECRET}@127.0.0.1",
        f"ftp://fish:{SECRET}@127.0.0.1",
        f"fish:{SECRET}@127.0.0.1",
        f"amqp://fish:{SECRET}@",
        f"amqp://fish:{SECRET}",
        f"amqp://fish:{SECRET},word@127.0.0.1:1",
        f"amqp://fish:wo,{SECRET}",
        f"amqp://fish:a#{SECRET}",
        f"amqp://fish:12/{SECRET}",
        f"fish:{SECRET}",
        f"//fish:{SECRET}@127.0.0.1",
        f"amqp://h?password={SECRET}",
        f"http://127.0.0.1:1/lookup?key={SECRET}",
        lambda callback: callback(OSError(f"no amqp://fish:{SECRET}@h"), None),
        f"amqp://fish:{SECRET}@a b",
        f"http://fish:{SECRET}@127.0.0.1:1/lookup",
        [f"amqp://fish:{SECRET}@127.0.0.1:1", f"amqp://fish:{SECRET}@[::1:1"],
        lambda callback: callback(None, {"url": f"amqp://fish:{SECRET}@h"}),
        lambda callback: callback(None, [f"amqp://fish:{SECRET}@h:x"]),
    ],
    ids=shown,
)
def test_a_password_in_a_url_is_in_no_error_log_or_repr(service: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    try:
        found = Addresses.of(service)
        said.append(repr(found))
        connection = Connection(found, "c")
        connection.start()
        wait_until(lambda: connection.error)
        said += [repr(connection), repr(connection.error), str(connection.error), str(connection.url)]
        connection.stop()
        error: BaseException | None = connection.error
    except MQLightError as refused:
        said += [repr(refused), str(refused), str(vars(refused))]
        error = refused
    while error is not None:
        said.append(f"{error!r} {error}")
        error = error.__cause__
    assert said and SECRET not in " ".join(said)
    assert SECRET not in caplog.text


def test_no_repr_of_anything_that_has_a_password_shows_it() -> None:
    url = f"amqp://fish:{SECRET}@127.0.0.1:1"
    options = {"user": "fish", "password": SECRET}
    client = mqlight.Client(url, security_options=options)
    caller = macaque.Client(url, security_options=options)
    server = macaque.Server(url, security_options=options)
    things = [
        Endpoint.parse(url), Lookup.parse(f"http://fish:{SECRET}@h/"), Addresses.of(url, options), Security.of(options),
        client, caller, server, client.get_service(),
    ]  # fmt: skip
    try:
        for each in things:
            assert SECRET not in f"{each!r} {each}"
    finally:
        client.stop()
        caller.close()
        server.close()
