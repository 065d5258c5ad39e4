"""The official schema of AsyncAPI."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from foreign import INTEROP, packages


class Official:
    """The schema of AsyncAPI 3.0, from the package of its authors."""

    def __init__(self) -> None:
        path = packages(INTEROP) / "@asyncapi/specs/schemas/3.0.0.json"
        schema = json.loads(path.read_text(encoding="utf-8"))
        # Otherwise each validation would look for the parts of the schema again.
        known = Registry().with_resource(schema["$id"], Resource.from_contents(schema)).crawl()
        self._validator = jsonschema.Draft7Validator(schema, registry=known)

    def error(self, document: Any) -> str | None:
        """Return the first error of a document, None if it is valid."""
        found = jsonschema.exceptions.best_match(self._validator.iter_errors(document))
        return None if found is None else f"{found.json_path}: {found.message}"


@pytest.fixture(scope="session")
def official() -> Official:
    return Official()
