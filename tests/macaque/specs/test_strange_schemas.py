"""Schemas of other programs, which may be any JSON: the documents are valid all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from macaque.observe.info import ServiceInfo
from macaque.specs.asyncapi import asyncapi
from macaque.specs.calls import in_curl, in_python, in_shell
from macaque.specs.openapi import openapi
from macaque.specs.page import page

KEYWORDS = st.sampled_from(
    "$ref $defs $id type properties required items prefixItems additionalProperties anyOf oneOf allOf enum const "
    "default examples title description format contentEncoding minimum exclusiveMaximum multipleOf minLength maxItems "
    "pattern discriminator mapping propertyName propertyNames not if".split()
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False), st.text(max_size=3),
    st.sampled_from("object array string integer number boolean null #/$defs/A #/$defs/B A".split()),
)  # fmt: skip
JSON = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYWORDS, st.sampled_from("AB")), inner, max_size=4)
    ),
    max_leaves=12,
)
SCHEMAS = st.dictionaries(KEYWORDS, JSON, max_size=5)


def shown(document: dict[str, Any]) -> Iterator[Any]:
    """The schemas of the data in an OpenAPI document of one service."""
    (item,) = document["paths"].values()
    for operation in item.values():
        for content in operation.get("requestBody", {}).get("content", {}), operation["responses"]["200"]["content"]:
            for media in content.values():
                yield media.get("x-data", media["schema"])


@settings(max_examples=60, deadline=None)
@given(SCHEMAS, SCHEMAS, st.booleans(), st.booleans())
def test_any_json_may_stand_for_a_schema(
    official: Any, request: object, reply: object, safe: bool, streams: bool
) -> None:
    info = ServiceInfo(topic="a/b", request=request, reply=reply, safe=safe, streams=streams)  # type: ignore[arg-type]
    told = {"title": "Strange", "version": "1"}
    assert official.error(json.loads(json.dumps(asyncapi([info], **told)))) is None
    document = json.loads(json.dumps(openapi([info], **told)))
    assert list(OpenAPIV31SpecValidator.schema_validator.iter_errors(document)) == []
    jsonschema.Draft202012Validator.check_schema(
        {"$defs": document["components"]["schemas"], "allOf": list(shown(document))}
    )
    assert page([info], http="http://localhost", **told).endswith("</html>\n")
    assert in_python(info) and in_shell(info) and in_curl(info, "http://localhost")
