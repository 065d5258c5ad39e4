"""The fixtures of pytest, which finds this module by its entry point: `macaque_client` and `macaque_broker`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from macaque.server import Server
from macaque.testing.broker import Broker, Client

__all__ = ["macaque_app", "macaque_broker", "macaque_client"]


@pytest.fixture
def macaque_broker() -> Iterator[Broker]:
    """A broker in memory for one test. `macaque_broker.serve(app)` serves an app on it."""
    with Broker() as broker:
        yield broker


@pytest.fixture
def macaque_app() -> Server | Iterable[Server]:
    """The app of `macaque_client`, or a list of apps. A project overrides this fixture."""
    raise pytest.UsageError(
        "There is no app for macaque_client: write a fixture named macaque_app that returns your macaque.Server."
    )


@pytest.fixture
def macaque_client(macaque_broker: Broker, macaque_app: Server | Iterable[Server]) -> Client:
    """A client of `macaque_broker`, which serves `macaque_app`."""
    macaque_broker.serve(*([macaque_app] if isinstance(macaque_app, Server) else macaque_app))
    return macaque_broker.client()
