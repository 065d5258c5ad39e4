"""Services to describe: some of a shop, and any that hypothesis thinks of."""

from __future__ import annotations

import datetime
import decimal
import enum
import typing
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pydantic
from hypothesis import strategies as st

import macaque
from macaque.observe.info import ServiceInfo, describe

HOSTILE = "</script><script>alert(1)</script>\"'&{x}`"
"""Text that would end an element, an attribute, a string or a parameter."""


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Line:
    item: Annotated[str, msgspec.Meta(min_length=1, max_length=40, description="The name of the item.")]
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


@dataclass
class Order:
    lines: list[Line]
    size: Size = Size.SMALL
    until: datetime.date | None = None


@dataclass
class Receipt:
    id: uuid.UUID
    cents: int


@dataclass
class Find:
    id: uuid.UUID
    size: Size | None = None


def shop() -> macaque.Server:
    """Return a server with services of each kind."""
    app = macaque.Server(cid="shop_1")

    @app.service("shop/buy", share_id="shop", credit=7, timeout=60)
    def buy(order: Order) -> Receipt:
        """Buy something.

        An item that the shop does not have is an error with code 404.
        """
        raise NotImplementedError

    @app.service("shop/find", share_id="shop", safe=True)
    def find(wanted: Find) -> Receipt | None:
        """Return a receipt, or null."""

    @app.service("shop/prices", share_id="shop", safe=True)
    def prices(items: list[str] | None) -> Iterator[tuple[str, int]]:
        """Send the price of each item, and then each change."""
        yield "tea", 30

    app.service("shop/+/echo")(lambda data: data)
    app.service("shop/log/#")(lambda data: None)
    return app


def described(app: macaque.Server) -> list[ServiceInfo]:
    """Return the services of a server as documents are made of them."""
    return [describe(service) for service in app._registry]


class Node(msgspec.Struct):
    value: int
    next: Node | None = None


class Dog(msgspec.Struct, tag=True, forbid_unknown_fields=True):
    name: str
    kennel: dict[str, list[Node]] = {}


class Cat(msgspec.Struct, tag="cat", rename="camel"):
    lives_left: Annotated[int, msgspec.Meta(gt=0, le=9)]


class Place(typing.NamedTuple):
    x: float
    y: float = 0.0


class Options(typing.TypedDict, total=False):
    deep: bool
    names: list[str]


class Ä_Ö(msgspec.Struct):
    """A class whose name is no name of a component."""

    größe: int = 1


class Model(pydantic.BaseModel):
    count: int = pydantic.Field(gt=0, multiple_of=5, description="A number of fives.")
    kind: Annotated[Red | Blue, pydantic.Field(discriminator="kind")]
    more: Model | None = None
    extra: list[Line] = []


class Red(pydantic.BaseModel):
    kind: Literal["red"]


class Blue(pydantic.BaseModel):
    kind: Literal["blue"] = "blue"
    depth: float = pydantic.Field(default=1.5, alias="how deep")


def namesake(kind: Any) -> type:
    """Return another class with the name Line."""
    return msgspec.defstruct("Line", [("text", kind)])


ZONED = Annotated[datetime.datetime, msgspec.Meta(tz=True)]
ZONED_TIME = Annotated[datetime.time, msgspec.Meta(tz=True)]
"""The schema of msgspec for a time without a zone says no more than that it is text."""
SIMPLE: list[Any] = [
    None, bool, int, float, str, bytes, Any, ZONED, ZONED_TIME, datetime.date, datetime.timedelta,
    uuid.UUID, decimal.Decimal, Size, Literal["a", "b", 3], Order, Receipt, Node, Dog | Cat, Place, Options, Ä_Ö,
    Annotated[int, msgspec.Meta(ge=10, le=20)], Annotated[str, msgspec.Meta(pattern="^a+$", min_length=2)],
    Annotated[float, msgspec.Meta(gt=0.25, lt=0.75)], namesake(int), namesake(list[Line]), msgspec.Raw,
]  # fmt: skip
ANNOTATIONS = st.recursive(
    st.sampled_from(SIMPLE),
    lambda inner: st.one_of(
        inner.map(lambda each: list[each]),
        inner.map(lambda each: dict[str, each]),
        inner.map(lambda each: typing.Optional[each]),  # noqa: UP045 (None | None is no annotation)
        st.tuples(inner, inner).map(lambda pair: tuple[pair]),
        st.tuples(inner, st.just(...)).map(lambda pair: tuple[pair]),
    ),
    max_leaves=4,
)
MODELS = st.sampled_from([Model, list[Model], dict[str, Red], Model | None, Blue])
LEVELS = st.one_of(
    st.sampled_from(["+", "#", "", ".", "..", "a", "b", "level1", "{level1}", "reply", "request", "macaque", HOSTILE]),
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=5),
)
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join)
DOCS = st.one_of(st.none(), st.sampled_from(["Do it.", f"{HOSTILE}\n\n{HOSTILE}"]), st.text(max_size=30))


@st.composite
def services(draw: Callable[..., Any]) -> list[ServiceInfo]:
    """Any services of one server. Two of one topic have two shares, and those that cannot be are left out."""
    app = macaque.Server()
    types = st.one_of(ANNOTATIONS, MODELS)
    for _ in range(draw(st.integers(0, 5))):
        function = _function(draw(types), draw(types), draw(st.booleans()))
        function.__doc__ = draw(DOCS)
        share = draw(st.sampled_from([None, "a", "b"]))
        try:
            app.service(draw(TOPICS), share_id=share, safe=draw(st.booleans()))(function)
        except (TypeError, ValueError):
            continue
    return described(app)


def _function(data: Any, result: Any, streams: bool) -> Any:
    def plain(data: Any) -> Any:
        """Return nothing."""

    def streaming(data: Any) -> Any:
        yield

    function = streaming if streams else plain
    function.__annotations__ = {"data": data, "return": Iterator[result] if streams else result}
    return function
