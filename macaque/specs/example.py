"""An example of the data that a JSON Schema describes.

The same schema always has the same example. It fits the schema, unless that has keywords that only a search could
satisfy, such as `pattern`. Pure.
"""

from __future__ import annotations

import math
from typing import Any

from macaque.specs.schemas import Schema, target

__all__ = ["example"]

MOST_PARTS = 1000
"""The parts of a schema that are looked at."""
MOST_ITEMS = 20
LONGEST_TEXT = 1000
DEEPEST = 50
TEXTS = {
    "date": "2026-12-01",
    "date-time": "2026-12-01T09:30:00Z",
    "decimal": "1.5",
    "duration": "PT1H30M",
    "email": "ada@example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "09:30:00Z",
    "uri": "https://example.org",
    "uuid": "0d6d5b5c-7f5e-4f0b-9a63-6f1a57e3a4b1",
}
"""An example for each `format` of a text."""


def example(schema: Schema | None) -> Any:
    """Return an example of the data that fits a schema, of values that JSON has.

    Args:
        schema: a schema with its definitions in it (`$defs`); None allows anything.
    """
    definitions = schema.get("$defs") if isinstance(schema, dict) else None
    try:
        found = _Examples(definitions if isinstance(definitions, dict) else {}).of(schema, frozenset())
    except (_Endless, ArithmeticError, RecursionError):
        return None
    return None if _is_deep(found) else found


class _Endless(Exception):
    """A type needs itself, directly or not, or has too many parts: there is no example."""


class _Examples:
    """The examples of one schema's parts. `inside` has the names of the types around a part."""

    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions
        self._left = MOST_PARTS

    def of(self, schema: Any, inside: frozenset[str]) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _Endless
        if not isinstance(schema, dict):
            return None
        for key in "examples", "enum":
            if isinstance(schema.get(key), list) and schema[key]:
                return schema[key][0]
        for key in "const", "default":
            if schema.get(key) not in (None, [], {}):
                return schema[key]
        if name := target(schema):
            if name in inside:
                raise _Endless
            return self.of(self._definitions.get(name), inside | {name})
        for key in "anyOf", "oneOf", "allOf":
            if isinstance(schema.get(key), list) and schema[key]:
                return self._first(schema[key], inside)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), None)
        if kind == "object" or "properties" in schema:
            return self._object(schema, inside)
        if kind == "array":
            return self._array(schema, inside)
        if kind == "string":
            return _text(schema)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        return True if kind == "boolean" else None

    def _first(self, choices: list[Any], inside: frozenset[str]) -> Any:
        """Return the example of the first choice that has one; null only if no other choice has one."""
        for choice in choices:
            if choice != {"type": "null"}:
                try:
                    return self.of(choice, inside)
                except _Endless:
                    continue
        if {"type": "null"} in choices:
            return None
        raise _Endless

    def _object(self, schema: Schema, inside: frozenset[str]) -> dict[str, Any]:
        members = schema.get("properties")
        members = members if isinstance(members, dict) else {}
        required = schema.get("required")
        found = {}
        for name, member in members.items():
            try:
                found[name] = self.of(member, inside)
            except _Endless:
                if isinstance(required, list) and name in required:
                    raise
        others = schema.get("additionalProperties")
        if not members and isinstance(others, dict):
            try:
                names = schema.get("propertyNames")
                key = self.of({"type": "string", **names}, inside) if isinstance(names, dict) else "key"
                found[key if isinstance(key, str) else "key"] = self.of(others, inside)
            except _Endless:
                pass
        return found

    def _array(self, schema: Schema, inside: frozenset[str]) -> list[Any]:
        first = schema.get("prefixItems")
        found = [self.of(each, inside) for each in first] if isinstance(first, list) else []
        least, most = int(_bound(schema, "minItems", 0)), int(_bound(schema, "maxItems", MOST_ITEMS))
        items = schema.get("items")
        wanted = min(max(least, 1), most, MOST_ITEMS) - len(found)
        if wanted > 0 and isinstance(items, dict):
            try:
                found += [self.of(items, inside)] * wanted
            except _Endless:
                if least > len(found):
                    raise
        return found


def _text(schema: Schema) -> str:
    kind = schema.get("format")
    if isinstance(kind, str) and kind in TEXTS:
        return TEXTS[kind]
    if schema.get("contentEncoding") == "base64":
        return "bWFjYXF1ZQ=="
    least, most = int(_bound(schema, "minLength", 0)), int(_bound(schema, "maxLength", LONGEST_TEXT))
    return ("text" * (1 + min(least, LONGEST_TEXT) // 4))[: min(max(least, 4), most)]


def _number(schema: Schema, *, whole: bool) -> float:
    """Return a number in the bounds of a schema: 1 or 1.5, or the nearest one that fits."""
    step = _bound(schema, "multipleOf", 1 if whole else 0)
    apart = step or 0.125
    """The least distance to a bound that does not fit itself."""
    low = max(_bound(schema, "minimum", -math.inf), _bound(schema, "exclusiveMinimum", -math.inf) + apart)
    high = min(_bound(schema, "maximum", math.inf), _bound(schema, "exclusiveMaximum", math.inf) - apart)
    value = min(max(1 if whole else 1.5, low), high)
    if step:
        value = math.ceil(value / step) * step
        value = value - step if value > high else value
    return value


def _is_deep(value: Any) -> bool:
    """Return whether a value has more objects and arrays inside of each other than are printed."""
    inside = [value]
    for _ in range(DEEPEST):
        inside = [
            inner
            for each in inside
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
        ]
    return bool(inside)


def _bound(schema: Schema, key: str, default: float) -> float:
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return default
    return value
