"""The errors: one root, sentences for people, attributes for programs."""

from __future__ import annotations

import pickle

import pytest

from mqlight import errors
from mqlight.amqp.types import Condition
from mqlight.errors import (
    MQLightError,
    NetworkError,
    NotPermittedError,
    ReplacedError,
    SecurityError,
    error_of,
)

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_an_mqlight_error_and_reads_as_its_sentence(kind):
    error = kind("This is wrong, do that.")
    assert isinstance(error, errors.MQLightError)
    assert str(error) == "This is wrong, do that."


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InvalidArgumentError, ValueError),
        (errors.RangeError, ValueError),
        (errors.NetworkError, ConnectionError),
    ],
)
def test_an_error_that_python_has_a_name_for_is_that_too(kind, builtin):
    assert issubclass(kind, builtin)


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (errors.InvalidArgumentError("x", argument="share", value="a:b"), {"argument": "share", "value": "a:b"}),
        (errors.RangeError("x", argument="qos", value=2), {"argument": "qos", "value": 2}),
        (errors.NetworkError("x", url="amqp://h:1", condition="c"), {"url": "amqp://h:1", "condition": "c"}),
        (errors.SecurityError("x", url="amqp://h:1", condition="c"), {"url": "amqp://h:1", "condition": "c"}),
        (errors.ReplacedError("x", client_id="me"), {"client_id": "me"}),
        (errors.NotPermittedError("x", condition="c", topic="t"), {"condition": "c", "topic": "t"}),
        (errors.StoppedError("x", client_id="me"), {"client_id": "me"}),
        (errors.SubscribedError("x", topic_pattern="t/#", share="s"), {"topic_pattern": "t/#", "share": "s"}),
        (errors.UnsubscribedError("x", topic_pattern="t/#", share=None), {"topic_pattern": "t/#", "share": None}),
    ],
)
def test_an_error_carries_its_data_also_to_another_process(error, attributes):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.args == ("x",)
    for name, value in attributes.items():
        assert getattr(error, name) == getattr(copy, name) == value


def test_what_the_place_of_an_error_does_not_know_is_none():
    error = errors.NetworkError("The server is gone.")
    assert error.url is None
    assert error.condition is None


# What conditions mean


@pytest.mark.parametrize(
    ("name", "description", "kind"),
    [
        ("amqp:link:stolen", "", ReplacedError),
        ("ServerContext_Takeover", "ServerContext_Takeover: again", ReplacedError),
        ("amqp:internal-error", "x ServerContext_Takeover y", ReplacedError),
        ("amqp:not-allowed", "no", NotPermittedError),
        ("amqp:precondition-failed", "no", NotPermittedError),
        ("amqp:not-implemented", "no", NotPermittedError),
        ("amqp:internal-error", "ServerContext_InvalidSourceTimeout: too long", NotPermittedError),
        ("amqp:unauthorized-access", "no", SecurityError),
        ("amqp:internal-error", "the sasl exchange failed", SecurityError),
        ("amqp:internal-error", "SSL handshake", SecurityError),
        ("amqp:not-allowed", "reason 2035 : not authorised", SecurityError),
        ("amqp:connection:forced", "shutting down", NetworkError),
        ("amqp:internal-error", "oh dear", NetworkError),
        ("amqp:resource-limit-exceeded", "too many", NetworkError),
        ("", "", NetworkError),
    ],
)
def test_a_condition_is_an_error_of_the_application(name: str, description: str, kind: type[MQLightError]) -> None:
    error = error_of(Condition(name, description))
    assert type(error) is kind
    assert description in str(error)


def test_no_condition_is_a_network_error() -> None:
    assert type(error_of(None)) is NetworkError
