"""The parameters of a query as data."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macaque.http.query import data_of
from macaque.typed import Type


class Colour(enum.IntEnum):
    RED = 1


@dataclasses.dataclass
class Wanted:
    limit: int = 10
    share: float = 0.0
    done: bool | None = None
    word: str = ""
    tags: list[int] = dataclasses.field(default_factory=list)
    names: list[str] | None = None
    either: int | str = 0
    colour: Colour = Colour.RED
    rank: Literal[1, 2] = 1


SCHEMA = Type(Wanted).schema()


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ([("limit", "5")], {"limit": 5}),
        ([("limit", "-5")], {"limit": -5}),
        ([("share", "5")], {"share": 5}),
        ([("share", "0.5")], {"share": 0.5}),
        ([("done", "true")], {"done": True}),
        ([("done", "null")], {"done": None}),
        ([("word", "5")], {"word": "5"}),
        ([("word", "")], {"word": ""}),
        ([("tags", "5")], {"tags": [5]}),
        ([("tags", "5"), ("tags", "6")], {"tags": [5, 6]}),
        ([("names", "a")], {"names": ["a"]}),
        ([("names", "a"), ("names", "5")], {"names": ["a", "5"]}),
        ([("either", "5")], {"either": 5}),
        ([("either", "five")], {"either": "five"}),
        ([("colour", "1")], {"colour": 1}),
        ([("rank", "2")], {"rank": 2}),
        # The service tells the caller what is wrong with these.
        ([("limit", "many")], {"limit": "many"}),
        ([("limit", "true")], {"limit": "true"}),
        ([("limit", "5"), ("limit", "6")], {"limit": ["5", "6"]}),
        ([("done", "1")], {"done": "1"}),
        ([("rank", "3")], {"rank": "3"}),
        ([("unknown", "5")], {"unknown": "5"}),
        ([], {}),
    ],
)
def test_parameters_become_values_by_the_schema(fields: list[tuple[str, str]], data: Any) -> None:
    assert data_of(fields, SCHEMA) == data


def test_what_is_right_fits_the_type() -> None:
    data = data_of([("limit", "3"), ("done", "false"), ("tags", "1"), ("colour", "1")], SCHEMA)
    assert Type(Wanted).from_plain(data) == Wanted(limit=3, done=False, tags=[1])


def test_without_a_schema_parameters_are_text_and_no_parameter_is_null() -> None:
    assert data_of([("a", "5"), ("b", "x"), ("b", "y")], None) == {"a": "5", "b": ["x", "y"]}
    assert data_of([], None) is None
    assert data_of([("data", '{"a": 5}')], None) == {"a": 5}
    assert data_of([("data", "5"), ("a", "6")], None) == {"data": "5", "a": "6"}


def test_data_is_the_whole_data_unless_a_member_has_that_name() -> None:
    assert data_of([("data", "[1]")], SCHEMA) == [1]
    assert data_of([("data", "5")], {"type": "object", "properties": {"data": {"type": "integer"}}}) == {"data": 5}
    with pytest.raises(ValueError):
        data_of([("data", "{")], SCHEMA)


def test_a_schema_of_other_members_is_used_for_all() -> None:
    assert data_of([("a", "5")], Type(dict[str, int]).schema()) == {"a": 5}


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}}
    assert data_of([("a", "5")], schema) == {"a": "5"}
    schema = {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert data_of([("a", "5")], schema) == {"a": "5"}


@given(st.lists(st.tuples(st.sampled_from(list(SCHEMA["$defs"]["Wanted"]["properties"])), st.text())))
def test_no_text_is_an_error(fields: list[tuple[str, str]]) -> None:
    assert isinstance(data_of(fields, SCHEMA), dict)


def test_optional_data_has_the_members_of_its_object() -> None:
    schema = Type(Wanted | None).schema()
    assert data_of([("limit", "5"), ("done", "true")], schema) == {"limit": 5, "done": True}
    assert data_of([], schema) is None
