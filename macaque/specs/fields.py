"""The fields of data as people read them: a row for each member, made from a JSON Schema.

The path of a field is that of the errors of macaque: `lines[].count` is the member `count` of each item of `lines`.
Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from macaque.specs.schemas import Schema, target

__all__ = ["Field", "fields", "type_name"]

MOST_FIELDS = 200
MOST_PARTS = 5000
"""The parts of a schema that are looked at."""
MOST_VALUES = 12
DEPTH = 12
"""Fields inside of each other that are told."""
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "length at least {}",
    "maxLength": "length at most {}",
    "minItems": "length at least {}",
    "maxItems": "length at most {}",
    "pattern": "matches {}",
}
"""Keywords that limit a value, as words."""


@dataclass(frozen=True)
class Field:
    """One row."""

    path: str
    """Empty for the data itself."""
    type: str
    required: bool
    about: str
    """The description, the limits and the default, as sentences."""


def fields(schema: Schema | None) -> list[Field]:
    """Return the fields of the data that fits a schema; none if it allows anything.

    Args:
        schema: a schema with its definitions in it (`$defs`).
    """
    if not isinstance(schema, dict) or not set(schema) - {"$defs"}:
        return []
    walk = _Walk(schema)
    whole = walk.resolved(schema)
    own = [] if "properties" in whole else [Field("", walk.name(schema), True, walk.about(schema))]
    return own + list(islice(walk.inner(schema, "", "", frozenset(), DEPTH), MOST_FIELDS))


def type_name(schema: Schema | None) -> str:
    """Return the type of the data that fits a schema, in a few words."""
    return _Walk(schema).name(schema) if isinstance(schema, dict) else "anything"


class _Walk:
    """A way through one schema. `inside` has the names of the types around a field, `left` counts down the depth."""

    def __init__(self, schema: Schema) -> None:
        definitions = schema.get("$defs")
        self._definitions: Schema = definitions if isinstance(definitions, dict) else {}
        self._left = MOST_PARTS

    def resolved(self, schema: Any) -> Schema:
        """Return the definition that a schema refers to, or the schema itself; empty if it is none."""
        for _ in range(DEPTH):
            if not isinstance(schema, dict) or not (name := target(schema)):
                break
            schema = self._definitions.get(name)
        return schema if isinstance(schema, dict) else {}

    def inner(self, schema: Any, path: str, condition: str, inside: frozenset[str], left: int) -> Iterator[Field]:
        """Yield the fields in a field. `condition` begins what is told of each."""
        name = target(schema)
        self._left -= 1
        if left == 0 or self._left < 0 or name in inside or not isinstance(schema, dict):
            return
        whole, inside = self.resolved(schema), inside | {name} - {""}
        members, required = whole.get("properties"), whole.get("required")
        if isinstance(members, dict):
            for key, member in members.items():
                place = f"{path}.{key}" if path else key
                needed = isinstance(required, list) and key in required
                yield Field(place, self.name(member), needed, (condition + self.about(member)).rstrip())
                yield from self.inner(member, place, condition, inside, left - 1)
        yield from self.inner(whole.get("items"), f"{path}[]", condition, inside, left - 1)
        if isinstance(first := whole.get("prefixItems"), list):
            for at, each in enumerate(first):
                yield from self.inner(each, f"{path}[{at}]", condition, inside, left - 1)
        yield from self.inner(whole.get("additionalProperties"), f"{path}.*", condition, inside, left - 1)
        choices = [each for each in _choices(whole) if each != {"type": "null"}]
        for each in choices:
            told = condition if len(choices) == 1 else f"{condition}Only in {self.name(each)}. "
            yield from self.inner(each, path, told, inside, left - 1)

    def name(self, schema: Any, left: int = DEPTH) -> str:
        """Return a type in a few words."""
        whole = self.resolved(schema)
        self._left -= 1
        if left == 0 or self._left < 0 or not whole:
            return "anything"
        if isinstance(values := whole.get("enum"), list):
            return " or ".join(map(_json, values[:MOST_VALUES])) + (" or ..." if len(values) > MOST_VALUES else "")
        if "const" in whole:
            return _json(whole["const"])
        if choices := _choices(whole):
            return " or ".join(dict.fromkeys(self.name(each, left - 1) for each in choices))
        kind = whole.get("type")
        if isinstance(kind, list):
            return " or ".join(map(str, kind))
        if kind == "array":
            if isinstance(first := whole.get("prefixItems"), list):
                return f"array of [{', '.join(self.name(each, left - 1) for each in first)}]"
            return f"array of {self.name(whole.get('items'), left - 1)}"
        if kind == "object" or "properties" in whole:
            if "properties" in whole or isinstance(whole.get("title"), str):
                return str(whole.get("title", "object"))
            return f"object of {self.name(whole.get('additionalProperties'), left - 1)}"
        detail = whole.get("format") or whole.get("contentEncoding")
        return f"{kind or 'anything'}" + (f" ({detail})" if isinstance(detail, str) else "")

    def about(self, schema: Any) -> str:
        """Return what is told of a field, but for its name and type."""
        own = schema if isinstance(schema, dict) else {}
        whole = {**self.resolved(schema), **own}
        told = [own["description"].strip()] if isinstance(own.get("description"), str) else []
        limits = [words.format(_json(whole[key])) for key, words in LIMITS.items() if key in whole]
        if "prefixItems" in whole:
            limits = []
        if own.get("default") is not None:
            limits.append(f"default {_json(own['default'])}")
        if limits:
            told.append(_sentence(", ".join(limits)))
        return " ".join(map(_ended, told))


def _choices(schema: Schema) -> list[Any]:
    for key in "anyOf", "oneOf", "allOf":
        if isinstance(found := schema.get(key), list):
            return found
    return []


def _json(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "..."
    return text if len(text) <= 80 else f"{text[:77]}..."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ended(text: str) -> str:
    return text if not text or text[-1] in ".!?" else f"{text}."
