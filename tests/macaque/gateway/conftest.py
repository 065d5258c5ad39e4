"""Gateways as processes of their own, in front of services in the process of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fronts import Front, running_front
from processes import Server, wait_until
from shops import Shop


@pytest.fixture(scope="module")
def shop(shared_server: Server) -> Iterator[Shop]:
    shop = Shop(shared_server.url)
    with shop.app:
        yield shop
        shop.go.set()


@pytest.fixture(scope="module")
def front(shared_server: Server, shop: Shop) -> Iterator[Front]:
    """A gateway for callers of this machine."""
    options = ("--allow", "shop/#", "--subscribe", "news/#", "--log-level", "debug")
    with running_front(shared_server.url, *options) as front:
        wait_until(lambda: front.call("shop/list").status == 200, what="the services")
        yield front
