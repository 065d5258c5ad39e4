"""The arguments and the types of maps and streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import macaque

if TYPE_CHECKING:
    from typing_extensions import assert_type


@dataclass
class Receipt:
    paid: int


async def types(client: macaque.Client) -> None:
    """Nothing calls it. The type checker reads it."""
    assert_type(await client.call("pay", 7, returns=Receipt), Receipt)
    assert_type(await client.call("pay", 7), Any)
    assert_type(client.call("pay", 7, returns=Receipt).result(), Receipt)
    for receipt in client.map("pay", [7], returns=Receipt):
        assert_type(receipt, Receipt)
    async for receipt in client.map("pay", [7], returns=Receipt):
        assert_type(receipt, Receipt)
    for anything in client.map("pay", [7]):
        assert_type(anything, Any)
    for either in client.map("pay", [7], returns=Receipt, return_exceptions=True):
        assert_type(either, Receipt | Exception)
    for part in client.stream("pay", 7, returns=Receipt):
        assert_type(part, Receipt)
    async with client.stream("pay", 7, returns=Receipt) as parts:
        async for part in parts:
            assert_type(part, Receipt)
    async with client as same:
        assert_type(same, macaque.Client)


@pytest.mark.parametrize(
    "arguments, kind, said",
    [
        ((7, []), TypeError, "The topic 7 is not a str"),
        (("t", 7), TypeError, "The items 7 are not iterable"),
    ],
)
def test_a_map_that_cannot_work_is_refused_at_once(
    client: macaque.Client, arguments: tuple[Any, ...], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        client.map(*arguments)
    with pytest.raises(ValueError, match="The window 0 is not between 1 and 10000"):
        client.map("t", [], window=0)
    with pytest.raises(ValueError, match="The timeout 0 is not between"):
        client.map("t", [], timeout=0)
