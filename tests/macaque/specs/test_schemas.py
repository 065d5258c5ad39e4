from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jsonschema
import msgspec
import pytest

from described import Dog, Line, Model, Node, Place, namesake
from macaque.specs.schemas import Schemas, target, unique
from macaque.typed import Type


def schema(annotation: Any) -> dict[str, Any]:
    return Type(annotation).schema()


@dataclass
class Cart:
    lines: list[Line]


def test_definitions_become_components_that_the_schema_refers_to() -> None:
    schemas = Schemas()
    assert schemas.add(schema(list[Cart])) == {"type": "array", "items": {"$ref": "#/components/schemas/Cart"}}
    assert list(schemas.components) == ["Cart", "Line"]
    assert schemas.components["Cart"]["properties"]["lines"]["items"] == {"$ref": "#/components/schemas/Line"}
    assert schemas.add(None) == {} == schemas.add({})


def test_a_type_stands_there_once_and_another_one_of_its_name_gets_a_number() -> None:
    schemas = Schemas()
    first, again = schemas.add(schema(Line)), schemas.add(schema(Line))
    other, cart = schemas.add(schema(namesake(int))), schemas.add(schema(Cart))
    nested = schemas.add(schema(msgspec.defstruct("Cart", [("lines", list[namesake(int)])])))
    assert first == again and list(schemas.components) == ["Line", "Line2", "Cart", "Cart2"]
    assert [target(each) for each in (first, other, cart, nested)] == ["Line", "Line2", "Cart", "Cart2"]
    assert schemas.components["Cart2"]["properties"]["lines"]["items"] == {"$ref": "#/components/schemas/Line2"}


def test_a_class_that_contains_itself_is_one_component() -> None:
    schemas = Schemas()
    schemas.add(schema(Node))
    assert list(schemas.components) == ["Node"]
    assert {"$ref": "#/components/schemas/Node"} in schemas.components["Node"]["properties"]["next"]["anyOf"]


def test_a_model_of_pydantic_is_a_component_also_where_its_schema_has_no_name() -> None:
    schemas = Schemas()
    alone, listed = schemas.add(schema(Model)), schemas.add(schema(list[Model]))
    assert alone == listed["items"] == {"$ref": "#/components/schemas/Model"}
    assert set(schemas.components) == {"Model", "Red", "Blue", "Line"}
    assert schemas.components["Model"]["properties"]["kind"]["discriminator"]["mapping"]["red"] == (
        "#/components/schemas/Red"
    )


@pytest.mark.parametrize("annotation, good, bad", [
    (Place, [1.5, 2], ["1.5"]),
    (tuple[int, str], [1, "a"], [1, 2]),
    (Line, {"item": "tea"}, {"item": ""}),
    (Model, {"count": 5, "kind": {"kind": "red"}}, {"count": 5, "kind": {"kind": "green"}}),
    (Node, {"value": 1, "next": {"value": 2}}, {"value": 1, "next": {"value": "2"}}),
    (dict[str, Dog], {"a": {"type": "Dog", "name": "Rex"}}, {"a": {"type": "Dog", "name": "Rex", "age": 3}}),
])  # fmt: skip
def test_a_schema_means_the_same_in_draft_7(annotation: Any, good: Any, bad: Any) -> None:
    for draft7, validator in (False, jsonschema.Draft202012Validator), (True, jsonschema.Draft7Validator):
        schemas = Schemas(draft7=draft7)
        document = {"allOf": [schemas.add(schema(annotation))], "components": {"schemas": schemas.components}}
        validator.check_schema(document)
        assert validator(document).is_valid(good) and not validator(document).is_valid(bad)


def test_words_of_the_data_are_no_keywords() -> None:
    given = {
        "type": "object",
        "properties": {"$ref": {"type": "string"}, "prefixItems": {"type": "integer"}},
        "default": {"$ref": "#/$defs/Gone", "prefixItems": [1]},
        "enum": [{"items": 5}],
    }
    assert Schemas(draft7=True).add(given) == given


@pytest.mark.parametrize("given, kept", [
    ({"$ref": "https://elsewhere.example/schema"}, {}),
    ({"$ref": "#/$defs/Gone", "description": "x"}, {"description": "x"}),
    ({"$ref": 5, "$id": "urn:x"}, {}),
    ({"properties": {"a": 5}, "items": True, "anyOf": ["x"]}, {"properties": {"a": {}}, "items": True, "anyOf": [{}]}),
    ({"$defs": 5, "type": "string"}, {"type": "string"}),
    ({"discriminator": {"propertyName": "a", "mapping": {"x": "urn:x", "y": "#/$defs/Gone"}}},
     {"discriminator": {"propertyName": "a", "mapping": {}}}),
    ("text", {}),
])  # fmt: skip
def test_a_schema_of_another_program_leads_nowhere(given: Any, kept: Any) -> None:
    assert Schemas().add(given) == kept


def test_a_schema_that_is_too_deep_allows_anything() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"items": deep}
    assert Schemas().add(deep) == {}


def test_references_in_a_circle_are_followed_once() -> None:
    schemas = Schemas()
    circle = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}
    assert target(schemas.resolved(schemas.add(circle))) in ("A", "B")


def test_names_are_unique_and_names_of_components() -> None:
    assert [unique("a", taken) for taken in ((), ("a",), ("a", "a2"))] == ["a", "a2", "a3"]
    schemas = Schemas()
    schemas.add({"$ref": "#/$defs/A~1<b>", "$defs": {"A/<b>": {"type": "object"}}})
    assert list(schemas.components) == ["A_b_"]
