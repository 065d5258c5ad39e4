"""Clients of a real server."""

from __future__ import annotations

import pytest

from mqlight import Client
from told import Told, stop


@pytest.fixture
def client(server):
    """Make clients of the server: they are stopped when the test ends."""
    made = []

    def make(client_id=None, service=server.url, **functions):
        started = Told()
        functions.setdefault("on_started", started)
        made.append(Client(service, client_id, **functions))
        if functions["on_started"] is started:
            started.next()
        return made[-1]

    yield make
    for each in made:
        stop(each)
