"""The arguments of the requests of a client."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

import macaque
from processes import Server


def test_every_request_has_a_uuid_of_its_own(shared_server: Server) -> None:
    uuids = set()
    for _ in range(2):
        with macaque.Client(broker=shared_server.url) as client:
            uuids |= {client.call("nobody", None).uuid for _ in range(100)}
    assert len(uuids) == 200
    shape = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(shape.fullmatch(uuid) for uuid in uuids)


@pytest.mark.parametrize(
    "arguments, kind, said",
    [
        ((7, 1), TypeError, "The topic 7 is not a str"),
        (([], 1), TypeError, "is not a str"),
        (("", 1), ValueError, "empty"),
        (("t", object()), TypeError, "cannot be sent as JSON"),
        (("t", 1, "print"), TypeError, "'print' is not a function"),
        (("t", 1, asyncio.sleep), TypeError, "is async, so a call of it runs nothing"),
        (("t", 1, (lambda data: (yield))), TypeError, "is a generator, so a call of it runs nothing"),
        (("t", 1, None, 0), ValueError, "The timeout 0 is not between"),
        (("t", 1, None, float("nan")), ValueError, "nan"),
        (("t", 1, None, "5"), TypeError, "'5' is not a number"),
    ],
)
def test_a_call_that_cannot_work_is_refused_at_once(
    client: macaque.Client, arguments: tuple[Any, ...], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        client.call(*arguments)
