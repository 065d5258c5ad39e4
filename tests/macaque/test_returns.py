"""Calls whose result has a type: `returns` of `client.call` and `client.gather`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

import macaque
from transports import Network


@dataclass
class Receipt:
    total: int
    lines: list[str]


class Model(pydantic.BaseModel):
    total: int


class Slow(msgspec.Struct):
    total: int

    def __post_init__(self) -> None:
        if self.total < 0:
            raise ValueError("total is below 0")


RECEIPT = {"total": 3, "lines": ["tea"]}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[macaque.Client]:
    network = Network()
    monkeypatch.setattr(macaque.Client, "_connect", staticmethod(network.connect))
    monkeypatch.setattr(macaque.Server, "_connect", staticmethod(network.connect))
    app = macaque.Server("amqp://memory")
    app.service("echo")(lambda data: data)
    app.service("fails")(lambda data: macaque.abort(404, "no such order"))
    for reply in (RECEIPT, {"total": 4}):
        app.service("receipts", share_id=str(len(reply)))(lambda data, reply=reply: reply)
    app.service("receipts", share_id="none")(lambda data: macaque.abort(404, "no such order"))
    app.start()
    with macaque.Client("amqp://memory") as client:
        yield client
    app.close()


@pytest.mark.parametrize(
    "returns, data, value",
    [
        (Receipt, RECEIPT, Receipt(3, ["tea"])),
        (list[Receipt], [RECEIPT], [Receipt(3, ["tea"])]),
        (Receipt | None, None, None),
        (Model, {"total": "3"}, Model(total=3)),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (bytes, b"ab", b"ab"),
    ],
)
def test_a_result_is_converted_to_the_type(client: macaque.Client, returns: Any, data: Any, value: Any) -> None:
    call = client.call("echo", data, returns=returns)
    assert call.result() == value and call.exception() is None
    assert call.result() is call.result()


def test_without_a_type_a_result_is_what_json_has(client: macaque.Client) -> None:
    assert client.call("echo", Receipt(3, ["tea"])).result() == RECEIPT


def test_a_result_that_does_not_fit_is_an_error_with_its_place(client: macaque.Client) -> None:
    call = client.call("echo", {"total": 3, "lines": [4]}, returns=Receipt)
    with pytest.raises(macaque.RemoteError) as caught:
        call.result()
    assert caught.value is call.exception()
    assert str(caught.value) == (
        "The result of echo does not fit Receipt: Expected `str`, got `int` at result.lines[0] (code misfit)"
    )
    assert caught.value.details == {"errors": [{"path": "result.lines[0]", "message": "Expected `str`, got `int`"}]}
    assert not caught.value.retryable
    with pytest.raises(macaque.RemoteError, match="total is below 0 at result"):
        client.call("echo", {"total": -1}, returns=Slow).result()
    with pytest.raises(macaque.RemoteError, match="does not fit Model: Field required at result.total"):
        client.call("echo", {}, returns=Model).result()


def test_an_error_of_the_service_stays_as_it_is(client: macaque.Client) -> None:
    error = client.call("fails", 1, returns=Receipt).exception()
    assert isinstance(error, macaque.RemoteError) and error.code == 404


def test_a_callback_gets_the_converted_result_or_its_error(client: macaque.Client) -> None:
    results: list[Receipt] = []
    errors: list[Exception] = []
    for data in (RECEIPT, {}):
        call = client.call("echo", data, results.append, on_error=errors.append, returns=Receipt)
        call.exception()
    client._connection.before_blocking()  # type: ignore[attr-defined]
    assert results == [Receipt(3, ["tea"])]
    assert [str(error) for error in errors] == [
        "The result of echo does not fit Receipt: Object missing required field `total` at result (code misfit)"
    ]


def test_futures_and_tasks_get_the_converted_result(client: macaque.Client) -> None:
    call = client.call("echo", RECEIPT, returns=Receipt)
    call.result()
    future = call.future()
    client._connection.before_blocking()  # type: ignore[attr-defined]
    assert future.result(5) == Receipt(3, ["tea"])

    async def wait() -> Receipt:
        return await call

    assert asyncio.run(wait()) == Receipt(3, ["tea"])


def test_threads_that_wait_together_get_one_result(client: macaque.Client) -> None:
    call = client.call("echo", RECEIPT, returns=Receipt)
    call.done() or client._connection.before_blocking()  # type: ignore[attr-defined]
    found: list[Receipt] = []
    threads = [threading.Thread(target=lambda: found.append(call.result())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [Receipt(3, ["tea"])] * 4 and len({id(each) for each in found}) == 1


def test_a_type_that_json_cannot_be_decoded_to_is_refused_at_once(client: macaque.Client) -> None:
    with pytest.raises(TypeError, match="returns=Thread cannot be the type of a result: Thread is no type that JSON"):
        client.call("echo", 1, returns=threading.Thread)


def test_each_reply_of_a_gathering_is_converted_or_an_error(client: macaque.Client) -> None:
    results: list[Receipt] = []
    errors: list[Exception] = []
    call = client.gather("receipts", 1, results.append, on_error=errors.append, replies=3, returns=Receipt)
    replies = call.result()
    assert [each for each in replies if isinstance(each, Receipt)] == [Receipt(3, ["tea"])] == results
    failures = [each for each in replies if isinstance(each, macaque.RemoteError)]
    assert {error.code for error in failures} == {404, "misfit"}
    assert sorted(map(str, errors)) == sorted(map(str, failures))
    assert "The result of receipts does not fit Receipt" in "".join(map(str, failures))
    assert call.result() is call.result() and call.exception() is None


def test_a_gathering_without_any_reply_ends_in_the_error_of_a_call(client: macaque.Client) -> None:
    errors: list[Exception] = []
    call = client.gather("nobody", 1, on_error=errors.append, returns=Receipt)
    assert isinstance(call.exception(), macaque.NoResponders)
    client._connection.before_blocking()  # type: ignore[attr-defined]
    assert errors == [call.exception()]


def test_a_gathering_refuses_a_type_at_once(client: macaque.Client) -> None:
    with pytest.raises(TypeError, match="returns=Thread cannot be the type of a result"):
        client.gather("receipts", 1, returns=threading.Thread)
