from __future__ import annotations

import pytest

from mqlight.environment import is_service_link


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AMQP_PORT", "tcp://10.96.0.12:5672"),
        ("MACAQUE_BROKER_PORT", "udp://10.96.0.12:80"),
        ("AMQP_SERVICE_HOST", "10.96.0.12"),
        ("AMQP_SERVICE_PORT", "5672"),
        ("AMQP_SERVICE_PORT_PLAIN", "5672"),
        ("AMQP_PORT_5672_TCP", "tcp://10.96.0.12:5672"),
        ("AMQP_PORT_5672_TCP_ADDR", "10.96.0.12"),
    ],
)
def test_a_variable_of_a_service_is_no_setting(name: str, value: str) -> None:
    assert is_service_link(name, value)


@pytest.mark.parametrize(
    ("name", "value"), [("AMQP_PORT", "5672"), ("AMQP_PORT", "tcp"), ("MACAQUE_BROKER", "tcp://h:1")]
)
def test_a_setting_is_one(name: str, value: str) -> None:
    assert not is_service_link(name, value)
