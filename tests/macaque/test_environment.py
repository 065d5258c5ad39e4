"""Names of environment variables, for programs of macaque."""

from __future__ import annotations

from macaque.environment import is_service_link, nearest


def test_a_variable_of_kubernetes_is_no_setting_and_a_misspelt_one_has_a_neighbour() -> None:
    assert is_service_link("APP_PORT", "tcp://10.0.0.1:80") and not is_service_link("APP_PORT", "80")
    assert nearest("APP_SECRT", ["APP_SECRET", "APP_HOSTS"]) == "APP_SECRET"
