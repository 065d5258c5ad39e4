"""The schemas of the envelope are those of the protocol's page, which tests/test_protocol.py compares with the code."""

from __future__ import annotations

import json

import jsonschema
import pytest

from macaque.control import encode_cancel, encode_grant
from macaque.specs import wire
from mqlight.amqp.message import decode
from processes import ROOT

PAGE = json.loads((ROOT / "docs/envelope.schema.json").read_text(encoding="utf-8"))["$defs"]


@pytest.mark.parametrize("name", ["Request", "Reply", "Fault"])
def test_the_envelope_is_that_of_the_page(name: str) -> None:
    ours = json.dumps(getattr(wire, name.upper())).replace("#/components/schemas/MacaqueFault", "#/$defs/Fault")
    assert json.loads(ours) == PAGE[name]


def test_the_messages_to_a_stream_fit() -> None:
    for message in encode_grant("u", "macaque/stream/s/1", 48, 28.0), encode_cancel("u", "macaque/stream/s/1", 0, 1.0):
        jsonschema.validate(json.loads(decode(message).body), wire.GRANT)
    assert not jsonschema.Draft7Validator(wire.GRANT).is_valid({"uuid": "u", "upTo": "all"})
