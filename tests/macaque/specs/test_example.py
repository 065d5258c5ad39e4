from __future__ import annotations

import json
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from described import ANNOTATIONS, MODELS, Cat, Line, Node, Order, Place
from macaque.specs.example import example
from macaque.typed import Type


def of(annotation: Any) -> Any:
    return example(Type(annotation).schema())


@settings(max_examples=150, deadline=None)
@given(st.one_of(ANNOTATIONS, MODELS))
def test_the_example_of_any_type_is_data_of_that_type(annotation: Any) -> None:
    try:
        kind = Type(annotation)
    except TypeError:
        return
    schema = kind.schema()
    if "pattern" not in json.dumps(schema):
        kind.from_json(json.dumps(example(schema)).encode())
        jsonschema.Draft202012Validator(schema).validate(example(schema))


@pytest.mark.parametrize("annotation, data", [
    (int, 1), (float, 1.5), (str, "text"), (bool, True), (None, None), (bytes, "bWFjYXF1ZQ=="), (list[int], [1]),
    (dict[str, int], {"key": 1}), (dict[Annotated[str, msgspec.Meta(min_length=9)], int], {"texttextt": 1}),
    (tuple[int, str], [1, "text"]), (Place, [1.5, 0.0]),
    (Cat, {"type": "cat", "livesLeft": 1}),
    (Line, {"item": "text", "count": 1}), (Node, {"value": 1, "next": None}), (int | str | None, 1),
    (Order, {"lines": [{"item": "text", "count": 1}], "size": "small", "until": "2026-12-01"}),
    (Annotated[int, msgspec.Meta(ge=10, multiple_of=7)], 14), (Annotated[int, msgspec.Meta(lt=-3)], -4),
    (Annotated[str, msgspec.Meta(min_length=9)], "texttextt"), (Annotated[str, msgspec.Meta(max_length=2)], "te"),
    (Annotated[list[int], msgspec.Meta(min_length=3)], [1, 1, 1]),
    (Annotated[int, msgspec.Meta(examples=[42])], 42),
])  # fmt: skip
def test_an_example_is_short_and_the_same_each_time(annotation: Any, data: Any) -> None:
    assert of(annotation) == data == of(annotation)


@pytest.mark.parametrize("schema", [
    None, {}, "text", {"$ref": "#/$defs/Gone"}, {"$ref": "https://elsewhere.example"}, {"type": 5}, {"anyOf": [5]},
    {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
    {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"]}}},
    {"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}, "minItems": 1}}},
    {"type": "integer", "multipleOf": 1e-320}, {"$defs": [], "$ref": "#/$defs/A"},
])  # fmt: skip
def test_a_schema_without_an_example_has_null(schema: Any) -> None:
    assert example(schema) is None


def test_a_schema_of_another_program_costs_little() -> None:
    doubling = {f"T{at}": {"properties": {name: {"$ref": f"#/$defs/T{at + 1}"} for name in "ab"}} for at in range(30)}
    assert isinstance(example({"$ref": "#/$defs/T0", "$defs": doubling}), dict)
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"type": "array", "items": deep}
    assert example(deep) is None
    assert example({"const": deep}) is None
    assert len(example({"type": "string", "minLength": 10**9})) <= 1004
    assert len(example({"type": "array", "items": {"type": "null"}, "minItems": 10**9})) <= 20
