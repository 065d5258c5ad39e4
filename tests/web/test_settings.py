"""The settings of an operator."""

from __future__ import annotations

import dataclasses
import re

import pytest

from frontend.settings import PREFIX, BadSetting, Settings, address
from processes import ROOT

PAGE = (ROOT / "docs/web.md").read_text(encoding="utf-8")


def test_without_variables_everything_has_its_default() -> None:
    assert Settings.of({"PATH": "/bin", "PORT": "8000", "FRONTEND_MAX_WORDS": ""}) == Settings()


def test_variables_are_read_as_what_they_are() -> None:
    environ = {"MAX_WORDS": "7", "WORD_TIMEOUT": "0.5", "HOSTS": "a.b, .c", "METRICS": "all", "SECRET": "x" * 16}
    read = Settings.of({f"FRONTEND_{name}": value for name, value in environ.items()})
    assert read == Settings(max_words=7, word_timeout=0.5, hosts="a.b, .c", metrics="all", secret="x" * 16)


def test_on_cloud_foundry_there_is_a_proxy_unless_told_otherwise() -> None:
    assert Settings.of({"VCAP_APPLICATION": "{}"}).proxies == 1
    assert Settings.of({"VCAP_APPLICATION": "{}", "FRONTEND_PROXIES": "2"}).proxies == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_WORDS", "many"), ("MAX_WORDS", "0"), ("MAX_WORDS", "2.5"), ("MAX_WAITING", "1e9"),
        ("HOSTS", "http://x"), ("HOSTS", "x:80"),
        ("WORD_TIMEOUT", "nan"), ("WORD_TIMEOUT", "-1"), ("LOG_LEVEL", "loud"), ("PROXIES", "11"), ("METRICS", "yes"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(f"FRONTEND_{name}={value} is not valid (")):
        Settings.of({f"FRONTEND_{name}": value})


def test_a_variable_that_is_misspelt_is_no_silence() -> None:
    for wrong, right in (
        ("FRONTEND_MAX_WROD", "FRONTEND_MAX_WORDS"),
        ("FRONTEND_SECRT", "FRONTEND_SECRET"),
        ("FRONTEND_PORT", "PORT"),
    ):
        with pytest.raises(BadSetting, match=f"no setting {wrong}: unset it, or use {right}\\."):
            Settings.of({wrong: "5"})


def test_the_variables_of_kubernetes_for_a_service_named_frontend_are_no_settings() -> None:
    address = "tcp://10.0.0.1:80"
    links = {
        "FRONTEND_PORT": address,
        "FRONTEND_PORT_80_TCP": address,
        "FRONTEND_PORT_80_TCP_ADDR": "10.0.0.1",
        "FRONTEND_PORT_80_TCP_PORT": "80",
        "FRONTEND_PORT_80_TCP_PROTO": "tcp",
        "FRONTEND_SERVICE_HOST": "10.0.0.1",
        "FRONTEND_SERVICE_PORT": "80",
        "FRONTEND_SERVICE_PORT_HTTP": "80",
        "FRONTEND_METRICS_PORT": address,
        "FRONTEND_METRICS_SERVICE_HOST": "10.0.0.1",
        "FRONTEND_SECRET_PORT_80_TCP": address,
    }
    assert Settings.of(links) == Settings()


def test_a_secret_is_shown_nowhere() -> None:
    with pytest.raises(BadSetting, match="FRONTEND_SECRET is not valid .*try FRONTEND_SECRET=") as caught:
        Settings.of({"FRONTEND_SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Settings(secret="hunter2hunter2hunter2"))


def test_every_setting_is_in_the_page_of_the_operator_with_its_default() -> None:
    for each in dataclasses.fields(Settings):
        default = str(each.default).removesuffix(".0") or "none"
        assert re.search(rf"^\| `{PREFIX}{each.name.upper()}` \| {default} \|", PAGE, re.MULTILINE), each.name
    names = [PREFIX + each.name.upper() for each in dataclasses.fields(Settings)]
    assert sorted(re.findall(r"^\| `(FRONTEND_\w+)`", PAGE, re.MULTILINE)) == sorted(names)
    assert len(names) == 12


# The address


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("127.0.0.1", 8000)),
        ({"PORT": "0"}, ("127.0.0.1", 0)),
        ({"PORT": "8100", "HOST": "::1"}, ("::1", 8100)),
        ({"VCAP_APPLICATION": "{}", "PORT": "8080"}, ("0.0.0.0", 8080)),
        ({"VCAP_APPLICATION": "{}", "HOST": "127.0.0.1"}, ("127.0.0.1", 8000)),
    ],
)
def test_the_environment_says_where_to_listen(environ: dict[str, str], expected: tuple[str, int]) -> None:
    assert address(environ) == expected


@pytest.mark.parametrize("port", ["http", "-1", "65536", "80.5", "²"])
def test_a_port_that_is_none_is_named_with_its_variable(port: str) -> None:
    with pytest.raises(BadSetting, match=rf"PORT={port} is not a port"):
        address({"PORT": port})
