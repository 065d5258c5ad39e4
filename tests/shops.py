"""Services for callers over HTTP."""

from __future__ import annotations

import threading
from typing import Any

import macaque


class Shop:
    """A server with one service of each kind. It knows what its functions did."""

    def __init__(self, broker: str) -> None:
        self.app = app = macaque.Server(broker=broker)
        self.go = threading.Event()
        self.began = threading.Semaphore(0)
        """Is released once for each call of `shop/stuck` and `shop/slow` that has begun."""
        self.ended = threading.Semaphore(0)
        """Is released once for each stream, and each call of `shop/slow`, that has ended."""
        self.runs = 0

        @app.service("shop/list", share_id="shop", safe=True)
        def list_items(data: Any) -> Any:
            return ["fish", data]

        @app.service("shop/add", share_id="shop", idempotent_for=60)
        def add(data: Any) -> Any:
            self.runs += 1
            return {"added": data, "run": self.runs}

        @app.service("shop/fail", share_id="shop")
        def fail(data: Any) -> Any:
            raise ValueError("a secret")

        @app.service("shop/none", share_id="shop")
        def none(data: Any) -> Any:
            macaque.abort(404, "there is no such item", {"item": data})

        @app.service("shop/stuck", share_id="shop", credit=20)
        def stuck(data: Any) -> Any:
            self.began.release()
            self.go.wait(20)
            return data

        @app.service("shop/slow", share_id="shop")
        async def slow(data: Any) -> None:
            import asyncio

            try:
                self.began.release()
                await asyncio.sleep(30.0)
            finally:
                self.ended.release()

        @app.service("shop/ticks", share_id="shop", safe=True, credit=1000)
        async def ticks(data: Any) -> Any:
            import asyncio

            try:
                for number in range(10_000):
                    yield number
                    if data is not None and number + 1 >= data:
                        return
                    await asyncio.sleep(30.0 if number else 0.01)
            finally:
                self.ended.release()

        @app.service("internal/secret", share_id="shop")
        def secret(data: Any) -> Any:
            return "secret"

    def wait_for(self, count: int) -> None:
        """Wait until `count` calls have begun."""
        for _ in range(count):
            assert self.began.acquire(timeout=10)

    def forget(self) -> None:
        """Forget the calls that have begun and the streams that have ended."""
        while self.began.acquire(blocking=False) or self.ended.acquire(blocking=False):
            pass
