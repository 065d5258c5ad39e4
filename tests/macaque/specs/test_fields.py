from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from described import ANNOTATIONS, MODELS, Cat, Dog, Line, Model, Node, Order, Place, Size
from macaque.specs.fields import MOST_FIELDS, fields, type_name
from macaque.typed import Type


def rows(annotation: Any) -> dict[str, tuple[str, bool, str]]:
    return {each.path: (each.type, each.required, each.about) for each in fields(Type(annotation).schema())}


def test_a_field_has_a_path_a_type_and_its_limits() -> None:
    assert rows(Order) == {
        "lines": ("array of Line", True, ""),
        "lines[].item": ("string", True, "The name of the item. Length at least 1, length at most 40."),
        "lines[].count": ("integer", False, "At least 1, default 1."),
        "size": ('"large" or "small"', False, 'Default "small".'),
        "until": ("string (date) or null", False, ""),
    }


def test_data_that_is_no_object_has_a_row_of_its_own() -> None:
    assert rows(int) == {"": ("integer", True, "")}
    assert list(rows(list[Line])) == ["", "[].item", "[].count"]
    assert list(rows(dict[str, tuple[int, Line]])) == ["", ".*[1].item", ".*[1].count"]
    assert fields(None) == fields({}) == fields({"$defs": {}}) == []


def test_the_fields_of_a_choice_tell_where_they_are() -> None:
    told = fields(Type(Dog | Cat).schema())
    assert ("name", "Only in Dog.") in [(each.path, each.about) for each in told]
    assert ("livesLeft", "Only in Cat. More than 0, at most 9.") in [(each.path, each.about) for each in told]
    assert [each.about for each in fields(Type(Line | None).schema())][1:] == [
        "The name of the item. Length at least 1, length at most 40.", "At least 1, default 1.",
    ]  # fmt: skip


def test_a_class_in_itself_is_named_and_not_told_again() -> None:
    assert rows(Node) == {"value": ("integer", True, ""), "next": ("Node or null", False, "")}
    assert [each.path for each in fields(Type(Model).schema())].count("more") == 1


@pytest.mark.parametrize("annotation, name", [
    (int, "integer"), (int | str, "integer or string"), (list[Line], "array of Line"),
    (Place, "array of [number, number]"),
    (dict[str, int], "object of integer"), (Size, '"large" or "small"'), (bytes, "string (base64)"), (Line, "Line"),
    (list[Any], "array of anything"), (None, "null"),
])  # fmt: skip
def test_a_type_is_a_few_words(annotation: Any, name: str) -> None:
    assert type_name(Type(annotation).schema()) == name


def test_long_values_are_cut() -> None:
    assert type_name({"enum": list(range(99))}).endswith("11 or ...")
    assert len(type_name({"const": "x" * 999})) == 80


@settings(max_examples=100, deadline=None)
@given(st.one_of(ANNOTATIONS, MODELS))
def test_any_type_has_fields_with_names_and_types(annotation: Any) -> None:
    try:
        schema = Type(annotation).schema()
    except TypeError:
        return
    told = fields(schema)
    assert all(each.type for each in told) and len(told) == len({(each.path, each.about) for each in told})


@pytest.mark.parametrize("schema", [
    "text", {"type": 5}, {"type": ["a", 5]}, {"properties": []}, {"properties": {"a": 5}, "required": 5}, {"enum": 5},
    {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, {"title": 5, "properties": {}}, {"anyOf": {}},
    {"prefixItems": [5], "items": 5}, {"description": 5, "default": {"a": [1]}}, {"format": 5, "type": "string"},
])  # fmt: skip
def test_a_schema_of_another_program_is_told_as_far_as_it_goes(schema: Any) -> None:
    assert isinstance(fields(schema), list) and isinstance(type_name(schema), str)


def test_a_schema_of_another_program_costs_little() -> None:
    wide = {"properties": {f"a{number}": {"type": "null"} for number in range(10_000)}}
    assert len(fields(wide)) == MOST_FIELDS
    twenty = {f"T{at}": {"anyOf": [{"$ref": f"#/$defs/T{at + 1}"}] * 20} for at in range(60)}
    assert len(fields({"$ref": "#/$defs/T0", "$defs": twenty})) <= MOST_FIELDS
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"type": "array", "items": deep}
    assert fields(deep) and type_name(deep).startswith("array of array of")
