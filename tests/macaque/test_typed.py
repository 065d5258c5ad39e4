from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NoReturn, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

import macaque
from macaque.typed import Codec, Mismatch, type_of

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")


@dataclass
class Item:
    name: str
    price: float
    count: int = 1


@dataclass
class Order:
    items: list[Item]
    labels: dict[str, int] = field(default_factory=dict)


class Point(NamedTuple):
    x: int
    y: int


class Colour(Enum):
    RED = "red"


class Box(TypedDict):
    size: int


class Dog(msgspec.Struct, tag=True):
    name: str


class Cat(msgspec.Struct, tag=True):
    lives: int


class Model(pydantic.BaseModel):
    total: int
    at: datetime | None = None


class Aliased(pydantic.BaseModel):
    total: int = pydantic.Field(alias="sum")


@pydantic.dataclasses.dataclass
class Checked:
    total: Annotated[int, pydantic.Field(gt=0)]


@dataclass
class Around:
    inside: list[Model]


def codec(annotation: Any, returns: Any = Any) -> Codec:
    def work(order: Any) -> Any: ...

    work.__annotations__ = {"order": annotation, "return": returns}
    return Codec("shop/orders", work)


@pytest.mark.parametrize(
    "annotation, text, value",
    [
        (Order, b'{"items":[{"name":"tea","price":2}]}', Order([Item("tea", 2.0)])),
        ("Order", b'{"items":[],"labels":{"a":1}}', Order([], {"a": 1})),
        ("list[Item | None]", b'[{"name":"tea","price":2,"count":3,"unknown":1},null]', [Item("tea", 2, 3), None]),
        (Point, b"[1,2]", Point(1, 2)),
        (Colour, b'"red"', Colour.RED),
        (Box, b'{"size":1}', {"size": 1}),
        (Dog | Cat, b'{"type":"Cat","lives":9}', Cat(9)),
        (dict[str, datetime], b'{"a":"2026-01-31T12:00:00Z"}', {"a": datetime(2026, 1, 31, 12, tzinfo=timezone.utc)}),
        (UUID, b'"00000000-0000-0000-0000-000000000001"', UUID(int=1)),
        (Annotated[int, msgspec.Meta(ge=1)], b"1", 1),
        (Literal["a"], b'"a"', "a"),
        (None, b"null", None),
        (Any, b'{"a":[1]}', {"a": [1]}),
        (object, b"1.5", 1.5),
        (T, b"2", 2),
        (Model, b'{"total":"3","at":"2026-01-31T12:00:00Z"}', Model(total=3, at="2026-01-31T12:00:00Z")),
        (list[Model], b'[{"total":3}]', [Model(total=3)]),
        (Aliased, b'{"sum":3}', Aliased(sum=3)),
        (Checked, b'{"total":1}', Checked(1)),
        (Around, b'{"inside":[{"total":3}]}', Around([Model(total=3)])),
    ],
)
def test_data_is_decoded_by_the_annotation(annotation: Any, text: bytes, value: Any) -> None:
    assert codec(annotation).decode(msgspec.Raw(text)) == value


def test_a_value_that_came_without_json_is_converted() -> None:
    convert = codec(Point).convert
    assert convert is not None and convert([1, 2]) == Point(1, 2)
    convert = codec(bytes).convert
    assert convert is not None and convert(b"ab") == b"ab"
    convert = codec(Model).convert
    assert convert is not None and convert({"total": 1}) == Model(total=1)
    assert codec(Any).convert is None


@pytest.mark.parametrize(
    "annotation, text, path, message",
    [
        (Order, b'{"items":[{"name":"tea","price":2},{"name":"tea","price":"2"}]}', "order.items[1].price",
         "Expected `float`, got `str`"),
        (Order, b"[]", "order", "Expected `object`, got `array`"),
        (Order, b"{}", "order", "Object missing required field `items`"),
        (Order, b'{"items":[],"labels":{"a":"b"}}', "order.labels[...]", "Expected `int`, got `str`"),
        (dict[int, int], b'{"a":1}', "a key of order", "Expected `int`, got `str`"),
        (Point, b"[1]", "order", "Expected `array` of length 2"),
        (Colour, b'"blue"', "order", "Invalid enum value 'blue'"),
        (Box, b"{}", "order", "Object missing required field `size`"),
        (Dog | Cat, b'{"type":"Cow"}', "order.type", "Invalid value 'Cow'"),
        (Annotated[int, msgspec.Meta(ge=1)], b"0", "order", "Expected `int` >= 1"),
        (Model, b'{"total":[]}', "order.total", "Input should be a valid integer"),
        (Around, b'{"inside":[{"total":1},{}]}', "order.inside[1].total", "Field required"),
        (Checked, b'{"total":0}', "order.total", "Input should be greater than 0"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_is_refused_with_its_place(
    annotation: Any, text: bytes, path: str, message: str
) -> None:
    with pytest.raises(Mismatch) as caught:
        codec(annotation).decode(msgspec.Raw(text))
    assert caught.value.code == 400
    assert caught.value.details == {"parameter": "order", "errors": [{"path": path, "message": message}]}
    assert caught.value.message == (f"The data does not fit the parameter 'order' of shop/orders: {message} at {path}")


def test_pydantic_tells_several_errors_of_which_the_sentence_has_the_first_ones() -> None:
    with pytest.raises(Mismatch) as caught:
        codec(list[Model]).decode(msgspec.Raw(b"[{},{},{},{},{},{},{}]"))
    assert [each["path"] for each in caught.value.details["errors"]] == [f"order[{at}].total" for at in range(7)]
    assert caught.value.message.endswith("Field required at order[4].total; and 2 more")


@pytest.mark.parametrize("annotation", [Order, Any])
def test_text_that_is_no_json_is_no_mismatch(annotation: Any) -> None:
    with pytest.raises(ValueError) as caught:
        codec(annotation).decode(msgspec.Raw(b'{"items":'))
    assert not isinstance(caught.value, Mismatch)


def test_a_value_error_of_the_class_itself_is_a_mismatch() -> None:
    @dataclass
    class Positive:
        n: int

        def __post_init__(self) -> None:
            if self.n < 1:
                raise ValueError("n is below 1")

    with pytest.raises(Mismatch, match="n is below 1 at order"):
        codec(Positive).decode(msgspec.Raw(b'{"n":0}'))


class NoType: ...


class Broken(Generic[T]): ...


@pytest.mark.parametrize(
    "annotation, said",
    [
        (NoType, "is annotated NoType: NoType is no type that JSON can be decoded to"),
        (list[NoType], "NoType is no type that JSON can be decoded to"),
        (Iterator[int], "Iterator.* is no type that JSON can be decoded to"),
        (Item | Order, "may not contain more than one dataclass"),
        (Model | NoType, "Unable to generate pydantic-core schema for .*NoType"),
        ("1 +", "has an annotation that cannot be read"),
        (macaque.Request, "is the data; the macaque.Request is the second parameter"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_refused_and_named(annotation: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said) as caught:
        codec(annotation)
    assert str(caught.value).startswith("The parameter 'order' of the service 'shop/orders' (")
    assert f"{__file__}, line " in str(caught.value)


@pytest.mark.parametrize("returns", [NoType, Item | Order, NoReturn, Iterator[int]])
def test_a_result_may_have_a_type_that_json_is_not_decoded_to(returns: Any) -> None:
    made = codec(Any, returns)
    made.check(Item("tea", 2))
    assert made.returns is None and made.schema() == {}


def test_a_name_in_the_type_of_the_result_must_be_defined() -> None:
    with pytest.raises(TypeError, match="^The result of the service 'shop/orders' .* is annotated with Nothing"):
        codec(Any, "Nothing").resolve()


def test_a_type_of_a_result_is_made_once() -> None:
    assert type_of(list[Item]) is type_of(list[Item])


def test_a_name_may_be_defined_after_the_service() -> None:
    def work(order: Later) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    made = Codec("shop/orders", work)
    with pytest.raises(
        TypeError, match="'order' of the service 'shop/orders' .* is annotated with Later, which is not"
    ):
        made.resolve()
    globals()["Later"] = Item
    try:
        made.resolve()
    finally:
        del globals()["Later"]
    assert made.decode(b'{"name":"tea","price":2}') == Item("tea", 2.0)


def test_a_name_that_only_type_checkers_see_is_missing_also_inside_a_class() -> None:
    @dataclass
    class Bill:
        total: Decimal

    for annotation in ("Decimal", Bill):
        with pytest.raises(TypeError, match="Decimal is imported under `if TYPE_CHECKING:`, import it without"):
            codec(annotation).resolve()


def test_a_second_parameter_is_the_request_only_if_it_is_annotated_so() -> None:
    def asks(data: Any, about: macaque.Request) -> None: ...
    def has_a_default(data: Any, times: int = 3) -> None: ...
    def asks_later(data: Any, about: "Unknown") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037

    assert Codec("t", asks).wants_request
    assert not Codec("t", has_a_default).wants_request
    with pytest.raises(TypeError, match="The parameter 'about' .* is annotated with Unknown"):
        Codec("t", asks_later).resolve()


class Job:
    def __init__(self, item: Item) -> None: ...


class Handler:
    def work(self, order: Item) -> None: ...
    def __call__(self, order: Item) -> None: ...


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@pytest.mark.parametrize(
    "function",
    [
        Job,
        Handler(),
        Handler().work,
        functools.partial(Handler.work, None),
        wrapped(Handler().work),
        wrapped(wrapped(Handler())),
    ],
)
def test_methods_objects_partials_and_wrapped_functions_have_annotations_too(function: Any) -> None:
    assert Codec("t", function).decode(b'{"name":"tea","price":2}') == Item("tea", 2.0)


@pytest.mark.parametrize("function", [len, str, lambda *data: data, lambda data: data])
def test_a_function_without_annotations_gets_what_json_has(function: Any) -> None:
    made = Codec("t", function)
    assert made.decode(b'{"a":1}') == {"a": 1} and made.schema() == {}


def test_the_schema_tells_the_types_of_request_and_reply() -> None:
    schema = codec(Item, list[int]).schema()
    assert schema["request"]["$defs"]["Item"]["required"] == ["name", "price"]
    assert schema["reply"] == {"type": "array", "items": {"type": "integer"}}
    assert codec(Model).schema()["request"]["properties"]["total"] == {"title": "Total", "type": "integer"}


def test_a_result_is_checked_in_the_form_in_which_it_is_sent() -> None:
    made = codec(Any, Item)
    made.check(Item("tea", 2))
    made.check({"name": "tea", "price": 2})
    with pytest.raises(TypeError, match="The result of shop/orders does not fit its annotation: Expected `float`"):
        made.check(Item("tea", "much"))  # type: ignore[arg-type]
    codec(Any).check(object())


def test_the_annotation_of_a_generator_is_that_of_its_parts() -> None:
    def parts(data: Any) -> Iterator[Item]:
        yield Item("tea", 2)

    returns = Codec("t", parts).returns
    assert returns is not None and returns.annotation is Item
