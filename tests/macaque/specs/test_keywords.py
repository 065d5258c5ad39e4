from __future__ import annotations

from typing import Any

import pytest

from macaque.specs.keywords import fits


@pytest.mark.parametrize("key, good, bad", [
    ("type", ["string", ["string", "null"]], [5, "text", [], ["text"], ["null", "null"], None]),
    ("properties", [{}, {"a": True}], [[], None]),
    ("items", [{}, True], [[], 5]),
    ("anyOf", [[{}]], [[], {}, True]),
    ("required", [[], ["a"]], ["a", ["a", "a"], [5]]),
    ("minimum", [0, 1.5], [True, "1", float("inf"), float("nan")]),
    ("multipleOf", [0.5], [0, -1, True]),
    ("minLength", [0, 5], [-1, 1.5, True]),
    ("title", ["A"], [5, None]),
    ("uniqueItems", [True], ["yes"]),
    ("enum", [[1, "1", True, None, {"a": 1}]], [{}, 1, [], [1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}]]),
    ("examples", [[], [1, 1]], [{}, 1]),
    ("default", [None, 1, {"a": 1}], []),
    ("x-mine", [None, 1], []),
    ("discriminator", [{"propertyName": "a"}, {"propertyName": "a", "mapping": {"b": "c"}}],
     ["a", {}, {"propertyName": 5}, {"propertyName": "a", "mapping": {"b": 5}}, {"propertyName": "a", "more": 1}]),
    ("$id", [], ["urn:a"]),
    ("externalDocs", [], [{}]),
])  # fmt: skip
def test_a_keyword_is_known_and_its_value_fits(key: str, good: list[Any], bad: list[Any]) -> None:
    assert all(fits(key, value) for value in good)
    assert not any(fits(key, value) for value in bad)
