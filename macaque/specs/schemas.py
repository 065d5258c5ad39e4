"""The JSON Schemas of a document: each named type stands once, in `components/schemas`.

The rules of this file:

* The definitions of a schema (`$defs`) become components. Two types of one name get two names.
* A schema may come from another program. A keyword that the document cannot have is left out. A reference that leads
  out of the schema becomes "anything", because a reader of the document would follow it.

Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from typing import Any

from macaque.specs.keywords import MANY, NAMED, ONE, fits

__all__ = ["Schema", "Schemas", "names_a_type", "target", "unique"]

Schema = dict[str, Any]

DEFINITIONS = "#/$defs/"
COMPONENTS = "#/components/schemas/"

LONGEST_NAME = 80
MOST_DEFINITIONS = 500
"""The most definitions of one schema. One with more allows anything in the document."""


class Schemas:
    """The components of one document, which grow with each schema that is added.

    Args:
        draft7: write the schemas in draft 7 of JSON Schema, as AsyncAPI 3.0 needs them. Otherwise they stay in draft
            2020-12, as in OpenAPI 3.1.
    """

    def __init__(self, *, draft7: bool = False) -> None:
        self.components: dict[str, Any] = {}
        """The schemas by name, in the order in which they were added."""
        self._draft7 = draft7
        self._names: dict[str, str] = {}
        """The name of each definition, by its text with all definitions that it refers to."""

    def define(self, name: str, schema: Schema) -> Schema:
        """Add a schema of the document's own, which refers to components itself. Return a reference to it."""
        self.components[name] = schema
        return {"$ref": COMPONENTS + name}

    def add(self, schema: Schema | None) -> Schema:
        """Return a schema in the form of the document: its definitions are added, and its references lead there.

        Args:
            schema: a JSON Schema of msgspec or pydantic, or of another program; None allows anything.
        """
        if not isinstance(schema, dict):
            return {}
        definitions = schema.get("$defs")
        definitions = definitions if isinstance(definitions, dict) else {}
        if len(definitions) > MOST_DEFINITIONS:
            return {}
        whole = {key: value for key, value in schema.items() if key != "$defs"}
        try:
            if names_a_type(whole):  # a model of pydantic stands outside of its definitions
                return self._reference(str(whole["title"]), whole, definitions)
            moved: Schema = self._moved(whole, definitions)
            return moved
        except RecursionError:
            return {}

    def resolved(self, schema: Schema) -> Schema:
        """Return the component that a schema of this document refers to, or the schema itself."""
        seen = set()
        while isinstance(name := schema.get("$ref"), str) and name not in seen:
            seen.add(name)
            found = self.components.get(name.removeprefix(COMPONENTS))
            if not isinstance(found, dict):
                break
            schema = found
        return schema

    def _reference(self, name: str, schema: Any, definitions: Schema) -> Schema:
        """Return a reference to the component of a definition, which is added if it is new."""
        reached = {each: definitions[each] for each in sorted(_reached(schema, definitions) - {name})}
        key = json.dumps([name, schema, reached], sort_keys=True)
        component = self._names.get(key)
        if component is None:
            component = unique(re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:LONGEST_NAME] or "Type", self.components)
            self._names[key] = component
            self.components[component] = {}  # takes its place before the types in it
            self.components[component] = self._moved(schema, definitions)
        return {"$ref": COMPONENTS + component}

    def _moved(self, schema: Any, definitions: Schema) -> Any:
        if not isinstance(schema, dict):
            return schema if isinstance(schema, bool) else {}
        moved = {key: self._keyword(key, value, definitions) for key, value in schema.items() if fits(key, value)}
        if (name := target(schema)) in definitions:
            reference = self._reference(name, definitions[name], definitions)
            moved = {"allOf": [reference], **moved} if moved and self._draft7 else {**reference, **moved}
        return _in_draft_7(moved) if self._draft7 else moved

    def _keyword(self, key: str, value: Any, definitions: Schema) -> Any:
        if key in ONE:
            return self._moved(value, definitions)
        if key in MANY:
            return [self._moved(each, definitions) for each in value]
        if key in NAMED:
            return {name: self._moved(each, definitions) for name, each in value.items()}
        if key == "discriminator" and "mapping" in value:
            mapping = {
                each: self._reference(name, definitions[name], definitions)["$ref"]
                for each, reference in value["mapping"].items()
                if (name := target({"$ref": reference})) in definitions
            }
            return {**value, "mapping": mapping}
        return value


def names_a_type(schema: Schema) -> bool:
    """Return whether a schema is that of a class, and not only of a member with a title."""
    return isinstance(schema.get("title"), str) and isinstance(schema.get("properties"), dict)


def target(schema: Any) -> str:
    """Return the name of the definition or component that a schema refers to; empty if it refers to none."""
    reference = schema.get("$ref") if isinstance(schema, dict) else None
    if isinstance(reference, str):
        for prefix in DEFINITIONS, COMPONENTS:
            if reference.startswith(prefix):
                return reference.removeprefix(prefix).replace("~1", "/").replace("~0", "~")
    return ""


def unique(name: str, taken: Container[str]) -> str:
    """Return a name that is not in `taken`: the name itself, or with the first free number behind it."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}{number}"
    return found


def _reached(schema: Any, definitions: Schema) -> set[str]:
    """Return the names of the definitions that a schema refers to, directly or not."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        for name in _references(waiting.pop()):
            if name in definitions and name not in found:
                found.add(name)
                waiting.append(definitions[name])
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield target(value)
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _in_draft_7(schema: Schema) -> Schema:
    """Return a schema whose own keywords are those of draft 7. A discriminator only repeats what its variants say."""
    schema = {key: value for key, value in schema.items() if key != "discriminator"}
    first = schema.pop("prefixItems", None)
    if first:
        rest = schema.pop("items", None)
        schema["items"] = first
        if rest is not None:
            schema["additionalItems"] = rest
    return schema
