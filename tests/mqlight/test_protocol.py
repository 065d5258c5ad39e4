"""The client's protocol begins and ends with its connections."""

from __future__ import annotations

import pytest

from applications import Application
from mqlight.amqp.types import Condition
from mqlight.errors import NetworkError, ReplacedError


@pytest.fixture
def app() -> Application:
    """A protocol without a connection."""
    return Application()


def test_a_session_is_connected_when_the_server_has_greeted_it(app: Application) -> None:
    app.begin()
    assert app.states == [] and not app.protocol.connected
    app.pump()
    assert app.states == [(True, None)] and app.protocol.connected


def test_the_end_of_a_connection_is_told_with_its_reason(app: Application) -> None:
    app.connect()
    app.server.engine.close(Condition("amqp:link:stolen", "ServerContext_Takeover"))
    app.pump()
    assert isinstance(app.states[-1][1], ReplacedError)
    assert len(app.states) == 2


def test_a_cut_connection_is_a_network_error(app: Application) -> None:
    app.connect()
    app.engine.end_of_input()
    connected, error = app.states[-1]
    assert not connected and type(error) is NetworkError
