"""Many calls of one service, with `client.map`."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import macaque
from macaque.envelope import decode_request
from mqlight.addresses import Addresses
from mqlight.connection import Connection
from mqlight.delivery import Delivery
from processes import Server, wait_until

BOUND = 10.0


@pytest.fixture
def square(shared_server: Server) -> Iterator[macaque.Server]:
    """A server of `square`, which waits for `app.go` with an odd number, and aborts for a negative one."""
    app = macaque.Server(broker=shared_server.url)
    app.go = threading.Event()  # type: ignore[attr-defined]

    @app.service("square", credit=50)
    def square(number: int) -> int:
        if number < 0:
            macaque.abort(400, f"{number} is negative")
        if number % 2:
            app.go.wait(20.0)  # type: ignore[attr-defined]
        return number * number

    with app:
        yield app
        app.go.set()  # type: ignore[attr-defined]


@pytest.fixture
def ready(square: Any) -> Any:
    square.go.set()
    return square


def squares(count: int) -> list[int]:
    return [number * number for number in range(count)]


def test_results_come_in_the_order_of_the_items(client: macaque.Client, ready: Any) -> None:
    assert list(client.map("square", range(500))) == squares(500)


def test_results_come_as_they_arrive(client: macaque.Client, square: Any) -> None:
    with client.map("square", range(20), ordered=False) as results:
        even = [next(results) for _ in range(10)]
        square.go.set()
        odd = list(results)
    assert sorted(even) == [number * number for number in range(0, 20, 2)]
    assert sorted(odd) == [number * number for number in range(1, 20, 2)]


def test_an_infinite_input_is_taken_only_as_results_are(client: macaque.Client, ready: Any) -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        while True:
            yield taken
            taken += 1

    with client.map("square", numbers(), window=10) as results:
        assert [next(results) for _ in range(100)] == squares(100)
        assert taken < 100 + 20
    assert client._in_flight == 0


def test_a_slow_item_delays_the_others_for_twice_the_window_at_most(client: macaque.Client, square: Any) -> None:
    items = iter([1, *range(0, 1000, 2)])
    with client.map("square", items, window=5) as results:
        got: list[int] = []
        thread = threading.Thread(target=lambda: got.append(next(results)))
        thread.start()
        wait_until(lambda: client._in_flight == 1 and len(results._held) == 10, what="the results that wait")
        square.go.set()
        thread.join(BOUND)
        assert [*got, *results][:3] == [1, 0, 4]


def test_without_an_order_a_slow_item_delays_nobody(client: macaque.Client, square: Any) -> None:
    with client.map("square", itertools.chain([1], itertools.count(0, 2)), window=5, ordered=False) as results:
        assert sorted(next(results) for _ in range(100)) == [number * number for number in range(0, 200, 2)]


@pytest.mark.parametrize("ordered", [True, False])
def test_every_item_has_one_outcome(client: macaque.Client, ready: Any, ordered: bool) -> None:
    items = [1, -2, object(), 3]
    outcomes = list(client.map("square", items, return_exceptions=True, ordered=ordered))
    assert len(outcomes) == 4
    assert sorted(outcome for outcome in outcomes if isinstance(outcome, int)) == [1, 9]
    kinds = {type(outcome): str(outcome) for outcome in outcomes if isinstance(outcome, Exception)}
    assert kinds[macaque.RemoteError] == "-2 is negative (code 400)"
    assert kinds[TypeError].startswith("The data <object object")


def test_an_error_is_raised_in_its_place_and_the_iteration_goes_on(client: macaque.Client, ready: Any) -> None:
    with client.map("square", [1, -2, 3]) as results:
        assert next(results) == 1
        with pytest.raises(macaque.RemoteError, match="-2 is negative"):
            next(results)
        assert list(results) == [9]


def test_the_timeout_of_an_item_is_its_outcome(client: macaque.Client, square: Any) -> None:
    outcomes = list(client.map("square", [1, 2], timeout=0.2, return_exceptions=True))
    assert isinstance(outcomes[0], macaque.Timeout)
    assert outcomes[1] == 4


def test_an_error_of_the_input_is_raised_after_the_results_before_it(client: macaque.Client, ready: Any) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the file ends")

    results = client.map("square", items())
    assert [next(results), next(results)] == [1, 4]
    with pytest.raises(OSError, match="the file ends"):
        next(results)
    assert list(results) == []


def test_to_leave_early_cancels_the_rest_without_a_wait(client: macaque.Client, square: Any) -> None:
    with client.map("square", itertools.count(), window=20) as results:
        assert next(results) == 0
        assert client._in_flight > 0
    assert client._in_flight == 0
    assert list(results) == []
    results.close()


def test_results_that_are_dropped_are_cancelled(client: macaque.Client, square: Any) -> None:
    for result in client.map("square", itertools.count(), window=20):
        assert result == 0
        break
    gc.collect()
    wait_until(lambda: client._in_flight == 0, what="the calls that are cancelled")


def test_two_maps_of_one_client_do_not_mix(client: macaque.Client, ready: Any) -> None:
    one, two = client.map("square", range(100)), client.map("square", range(100, 200))
    assert list(zip(one, two, strict=True)) == [(number**2, (number + 100) ** 2) for number in range(100)]


def test_a_map_is_iterated_in_an_event_loop(client: macaque.Client, ready: Any) -> None:
    async def main() -> None:
        assert [result async for result in client.map("square", range(300), window=50)] == squares(300)
        async with client.map("square", itertools.count(), ordered=False) as results:
            some = set()
            async for result in results:
                some.add(result)
                if len(some) == 50:
                    break
        assert client._in_flight == 0
        with pytest.raises(macaque.RemoteError, match="-1 is negative"):
            async for _ in client.map("square", [-1]):
                raise AssertionError("no result")

    asyncio.run(main())


def test_a_cancelled_task_may_leave_the_map(client: macaque.Client, square: Any) -> None:
    async def work() -> None:
        async with client.map("square", [1, 3]) as results:
            async for _ in results:
                raise AssertionError("no result")

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(work(), 0.1)

    asyncio.run(main())
    assert client._in_flight == 0


def test_a_closed_client_ends_the_map(shared_server: Server, square: Any) -> None:
    client = macaque.Client(broker=shared_server.url)
    results = client.map("square", [1, 3], return_exceptions=True)
    assert results._next() is None
    client.close()
    assert [type(outcome) for outcome in results] == [macaque.ConnectionLost] * 2
    with pytest.raises(macaque.ConnectionLost, match="make a new one"):
        client.map("square", [1])


def test_a_request_tells_its_number_its_time_and_its_source(client: macaque.Client, shared_server: Server) -> None:
    told = []
    connection = Connection(Addresses.of(shared_server.url), "listener")
    confirmed = threading.Event()

    def take(delivery: Delivery) -> None:
        told.append(delivery.message)
        delivery.accept()

    connection.subscribe("numbered", on_delivery=take, on_subscribed=lambda _: confirmed.set())
    connection.start()
    assert confirmed.wait(BOUND)
    with client.map("numbered", "abc") as results:
        results._next()
        wait_until(lambda: len(told) == 3, what="three requests")
    connection.stop()
    requests = [decode_request(message) for message in told]
    assert [(request.data, request.seq, request.source) for request in requests] == [
        (letter, number, client.client_id) for number, letter in enumerate("abc")
    ]
    assert all(request.sent_at and request.expires and request.sent_at < request.expires for request in requests)


def test_a_service_knows_the_number_of_its_item(client: macaque.Client, shared_server: Server) -> None:
    app = macaque.Server(broker=shared_server.url)
    app.service("seq")(lambda _: [macaque.request.seq, macaque.request.source == client.client_id])
    with app:
        assert list(client.map("seq", "abc")) == [[0, True], [1, True], [2, True]]
        assert client.call("seq", "d").result()[0] is None
