"""The keywords of JSON Schema that a document takes from a schema, and the values that they may have.

A schema may come from another program. One wrong keyword would make the whole document invalid. Pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

__all__ = ["MANY", "NAMED", "ONE", "fits"]

ONE = ("additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then")
MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
NAMED = ("dependentSchemas", "patternProperties", "properties")
"""Keywords whose value is a schema, a list of schemas, and an object of schemas."""
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def fits(key: str, value: Any) -> bool:
    """Return whether a schema in a document may have this keyword with this value. Schemas in it are not looked at."""
    if key.startswith("x-"):
        return True
    check = _CHECKS.get(key)
    return check is not None and check(value)


def _any(value: Any) -> bool:
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_schema(value: Any) -> bool:
    return isinstance(value, bool | dict)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_step(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _are_types(value: Any) -> bool:
    return value in TYPES if isinstance(value, str) else _are_names(value) and {*value} <= {*TYPES} and len(value) > 0


def _are_values(value: Any) -> bool:
    """Return whether a value is a list of different values. The integer 1 and the number 1.0 are the same."""
    if not isinstance(value, list):
        return False
    keys = {each if _is_number(each) else json.dumps(each, sort_keys=True) for each in value}
    return len(keys) == len(value) > 0


def _is_discriminator(value: Any) -> bool:
    if not isinstance(value, dict) or not set(value) <= {"propertyName", "mapping"}:
        return False
    mapping = value.get("mapping", {})
    return (
        isinstance(value.get("propertyName"), str)
        and isinstance(mapping, dict)
        and all(map(_is_text, mapping.values()))
    )


_CHECKS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(ONE, _is_schema),
    **dict.fromkeys(MANY, _are_schemas),
    **dict.fromkeys(NAMED, _is_object),
    **dict.fromkeys(("const", "default", "example"), _any),
    **dict.fromkeys(("contentEncoding", "contentMediaType", "description", "format", "pattern", "title"), _is_text),
    **dict.fromkeys(("deprecated", "readOnly", "uniqueItems", "writeOnly"), _is_bool),
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"), _is_number),
    **dict.fromkeys(("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"), _is_count),
    "enum": _are_values,
    "examples": _is_list,
    "discriminator": _is_discriminator,
    "multipleOf": _is_step,
    "required": _are_names,
    "type": _are_types,
}
