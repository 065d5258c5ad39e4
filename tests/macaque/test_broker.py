"""The broker of a program: an argument, the environment of Cloud Foundry, or this machine."""

from __future__ import annotations

import json

import pytest

from macaque.broker import from_environment, resolve
from mqlight.addresses import Endpoint
from mqlight.errors import InvalidArgumentError, MQLightError
from mqlight.security import Security


def refusal(function, *given):
    with pytest.raises(InvalidArgumentError) as caught:
        function(*given)
    return str(caught.value)


LOOKUP = "https://lookup.example/a"
PLAIN_LOOKUP = "http://lookup.example/b"
MQLIGHT = {
    "username": "u",
    "password": "p",
    "connectionLookupURI": LOOKUP,
    "nonTLSConnectionLookupURI": PLAIN_LOOKUP,
}
MESSAGEHUB = {"user": "u", "password": "p", "mqlight_lookup_url": LOOKUP, "kafka_rest_url": "https://kafka"}
USER = {"user": "u", "password": "p"}


def bound(label, *credentials):
    services = [{"name": f"my-{label}", "label": label, "credentials": each} for each in credentials]
    return {"VCAP_SERVICES": json.dumps({"other": [], label: services})}


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"VCAP_SERVICES": ""}, None),
        ({"VCAP_SERVICES": "{}"}, None),
        (bound("mqlight", MQLIGHT), (LOOKUP, USER)),
        (bound("mqlight-standard", MQLIGHT), (LOOKUP, USER)),
        (bound("messagehub", MESSAGEHUB), (LOOKUP, USER)),
        (bound("mqlight", {"nonTLSConnectionLookupURI": PLAIN_LOOKUP}), (PLAIN_LOOKUP, {})),
        (bound("user-provided", {"uri": "https://elsewhere"}, MQLIGHT), (LOOKUP, USER)),
        (bound("user-provided", {"uri": "amqps://u:p@host:1"}), ("amqps://u:p@host:1", {})),
        (bound("user-provided", {"url": "amqp://host", "username": "u", "password": "p"}), ("amqp://host", USER)),
        (bound("rabbitmq", {"uri": "amqp://host"}), ("amqp://host", {})),
        ({"mqlight_lookup_url": LOOKUP, "mqlight_user": "u", "mqlight_password": "p"}, (LOOKUP, USER)),
        ({"mqlight_lookup_url": LOOKUP}, (LOOKUP, {})),
    ],
)
def test_the_environment_names_the_service_and_its_user(environ, found):
    assert from_environment(environ) == found


def test_a_bound_service_goes_before_the_lookup_url_of_the_environment():
    environ = {**bound("mqlight", MQLIGHT), "mqlight_lookup_url": "http://other"}
    assert from_environment(environ) == (LOOKUP, USER)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "VCAP_SERVICES is not valid JSON"),
        ("[]", "VCAP_SERVICES is not a JSON object that lists services by label"),
        ('{"mqlight": {}}', "VCAP_SERVICES is not a JSON object that lists services by label"),
    ],
)
def test_a_broken_environment_is_said_in_a_sentence(text, words):
    assert refusal(from_environment, {"VCAP_SERVICES": text}).startswith(words)


def hosts(broker, environ, security_options=None):
    service, security = resolve(broker, security_options, environ)
    return [each.host for each in service.urls()], security.user


def test_the_broker_is_what_was_given_else_the_environment_else_this_machine():
    environ = {"MACAQUE_BROKER": " amqp://a , amqp://b,", **bound("user-provided", {"uri": "amqp://c", **USER})}
    assert hosts("amqp://given", environ) == (["given"], None)
    assert hosts(["amqp://x", "amqp://y"], environ) == (["x", "y"], None)
    assert hosts(None, environ) == (["a", "b"], None)
    del environ["MACAQUE_BROKER"]
    assert hosts(None, environ) == (["c"], "u")
    assert hosts(None, environ, {"user": "me", "password": "mine"}) == (["c"], "me")
    assert hosts(None, {}) == (["127.0.0.1"], None)
    assert hosts(None, {"MACAQUE_BROKER": ""}, Security(user="me", password="mine")) == (["127.0.0.1"], "me")


def test_a_mistake_in_the_environment_is_an_error_of_ours():
    with pytest.raises(MQLightError, match="the service URL nonsense is not valid"):
        resolve(None, None, {"MACAQUE_BROKER": "nonsense"})
    with pytest.raises(InvalidArgumentError, match="user is given without password"):
        resolve(None, None, bound("mqlight", {**MQLIGHT, "password": None}))


def test_a_misspelt_variable_names_the_right_one_and_variables_of_kubernetes_do_not_count():
    assert "did you mean MACAQUE_BROKER?" in refusal(resolve, None, None, {"MACAQUE_BORKER": "amqp://x"})
    others = {"MACAQUE_BROKER_PORT": "tcp://10.0.0.1:5672", "MACAQUE_BROKER_SERVICE_HOST": "h", "MACAQUE_WORKER": "1"}
    assert hosts(None, others) == (["127.0.0.1"], None)
    assert hosts(None, {"MACAQUE_BROKER": "amqp://x", "MACAQUE_BORKER": "amqp://y"}) == (["x"], None)


def test_a_comma_in_the_password_of_the_environment_stays_in_the_password():
    service, _ = resolve(None, None, {"MACAQUE_BROKER": "amqp://fish:secret,word@host"})
    assert service.urls() == [Endpoint("amqp", "host", 5672, "fish", "secret,word")]
