"""The data of a request in a query: its parameters are text, and become values by the JSON Schema of the service.

A value that does not fit stays text, so that the service itself tells the caller what does not fit. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from macaque.envelope import decode_data

__all__ = ["data_of"]

_PREFIX = "#/$defs/"
_DEPTH = 20
"""Schemas that may refer to each other before a value stays text."""

Schema = dict[str, Any]


def data_of(fields: Iterable[tuple[str, str]], schema: Schema | None) -> Any:
    """Return the data of a query.

    Args:
        fields: the parameters, decoded, in their order. A parameter that is repeated becomes a list. If `data` is the
            only one, and no member of the data has this name, it is the data as JSON.
        schema: the JSON Schema of the data; None if it is not known.

    Raises:
        ValueError, RecursionError: the parameter `data` is no JSON.
    """
    found: dict[str, list[str]] = {}
    for name, text in fields:
        found.setdefault(name, []).append(text)
    root = schema or {}
    resolved = _resolved(root, root)
    whole = _object_in(resolved, root)
    members = whole.get("properties", {})
    if list(found) == ["data"] and len(found["data"]) == 1 and "data" not in members:
        return decode_data(found["data"][0])
    if not found and resolved.get("type") != "object":
        return None
    others = whole.get("additionalProperties", {})
    rest = others if isinstance(others, dict) else {}
    return {name: _value(texts, members.get(name, rest), root, _DEPTH) for name, texts in found.items()}


def _value(texts: list[str], schema: Schema, root: Schema, depth: int) -> Any:
    """Return the value of a parameter by its schema."""
    schema = _resolved(schema, root)
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return [_value([text], items if isinstance(items, dict) else {}, root, depth - 1) for text in texts]
    unfit = texts if len(texts) > 1 else texts[0]
    for choice in (schema.get("anyOf") or ()) if depth > 0 else ():
        value = _value(texts, choice, root, depth - 1)
        if value is not unfit or _resolved(choice, root).get("type") == "string":
            return value
    return unfit if len(texts) > 1 else _scalar(texts[0], schema)


def _scalar(text: str, schema: Schema) -> Any:
    """Return the value of a text; the same text if it does not fit."""
    kind, value = schema.get("type"), _json(text)
    if kind is None:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        return value if text not in values and value in values else text
    wanted = _TYPES.get(kind, ())
    return value if isinstance(value, wanted) and (kind == "boolean" or not isinstance(value, bool)) else text


_TYPES: dict[str, Any] = {"integer": int, "number": (int, float), "boolean": bool, "null": type(None)}


def _json(text: str) -> Any:
    try:
        return decode_data(text)
    except (ValueError, RecursionError):
        return text


def _object_in(schema: Schema, root: Schema) -> Schema:
    """Return the object among the choices of a schema, such as an object or null; without one, the schema."""
    choices = (_resolved(choice, root) for choice in schema.get("anyOf") or ())
    return next((choice for choice in choices if choice.get("type") == "object"), schema)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Follow the references of a schema into its definitions."""
    for _ in range(_DEPTH):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith(_PREFIX):
            break
        schema = root.get("$defs", {}).get(reference.removeprefix(_PREFIX), {})
    return schema
