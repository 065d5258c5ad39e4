from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import macaque
from macaque.config import Config, broker_of, credit_of, timeout_of
from transports import Network


def test_the_environment_comes_before_the_mapping() -> None:
    environ = {"MACAQUE_CREDIT": "20", "MACAQUE_BROKER": "amqp://b", "MACAQUE_PORT": "tcp://10.0.0.1:80", "HOME": "/"}
    config = Config(environ)
    config.from_mapping({"CREDIT": 3}, TIMEOUT=7, DATABASE="here")
    assert dict(config) == {"CREDIT": 20, "TIMEOUT": 7, "DATABASE": "here", "BROKER": "amqp://b"}
    assert (credit_of(config), timeout_of(config), broker_of(config)) == (20, 7.0, "amqp://b")
    assert (len(config), repr(config)) == (4, "<macaque.Config CREDIT, TIMEOUT, DATABASE, BROKER>")
    del config["DATABASE"]
    assert "DATABASE" not in config


@pytest.mark.parametrize(
    "text, value", [("7", 7), ("1.5", 1.5), ("true", True), ('["a"]', ["a"]), ("text", "text"), ("[half", "[half")]
)
def test_the_value_of_a_variable_is_its_json_or_its_text(text: str, value: Any) -> None:
    assert Config({"MACAQUE_OWN": text})["OWN"] == value


def test_without_settings_a_server_has_its_defaults() -> None:
    config = Config({})
    assert (credit_of(config), timeout_of(config), broker_of(config), dict(config)) == (5, None, None, {})
    with pytest.raises(KeyError):
        config["CREDIT"]


def test_a_table_of_a_toml_file_has_settings(tmp_path: Path) -> None:
    path = tmp_path / "app.toml"
    path.write_text('[macaque]\ncredit = 9\n[tool.shop]\nTIMEOUT = 2.5\ndatabase = "here"\n')
    config = Config({})
    config.from_toml(path)
    config.from_toml(str(path), "tool.shop")
    assert dict(config) == {"CREDIT": 9, "TIMEOUT": 2.5, "DATABASE": "here"}
    with pytest.raises(ValueError, match=r"app.toml has no table \[tool.other\]"):
        config.from_toml(path, "tool.other")
    path.write_text("[")
    with pytest.raises(ValueError, match="app.toml is not TOML"):
        config.from_toml(path)
    with pytest.raises(FileNotFoundError):
        config.from_toml(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "settings, kind, said",
    [
        ({"credit": 3}, ValueError, "write 'CREDIT', not 'credit'"),
        ({3: 3}, TypeError, "such as 'CREDIT', not 3"),
    ],
)
def test_the_name_of_a_setting_has_upper_case(settings: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        Config({}).from_mapping(settings)


@pytest.mark.parametrize(
    "environ, kind, said",
    [
        ({"MACAQUE_CREDIT": "0"}, ValueError, "The setting CREDIT 0 is not between 1 and 1000"),
        ({"MACAQUE_CREDIT": "many"}, TypeError, "The setting CREDIT 'many' is not an int"),
        ({"MACAQUE_TIMEOUT": "-1"}, ValueError, "The setting TIMEOUT -1 is not between 0"),
        ({"MACAQUE_TIMEOUT": "long"}, TypeError, "The setting TIMEOUT 'long' is not a number of seconds"),
        ({"MACAQUE_CREDITS": "5"}, ValueError, "no variable MACAQUE_CREDITS; did you mean MACAQUE_CREDIT?"),
        ({"MACAQUE_BORKER": "amqp://b"}, ValueError, "did you mean MACAQUE_BROKER?"),
        ({"MACAQUE_BROKER": "nonsense"}, ValueError, "nonsense"),
    ],
)
def test_a_server_with_an_invalid_setting_does_not_start(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], kind: type[Exception], said: str
) -> None:
    app = macaque.Server()
    app.service("work")(len)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=said):
        app.start()
    assert app.unready() == {"server": "it is not started, or is leaving"}


def test_a_setting_of_the_application_is_not_a_misspelt_one() -> None:
    config = Config({"MACAQUE_CREDITS": "5", "MACAQUE_CREDIT_LIMIT": "5"})
    config["CREDITS"] = 1
    assert (broker_of(config), config["CREDITS"], config["CREDIT_LIMIT"]) == (None, 5, 5)


def test_services_that_tell_no_credit_or_timeout_have_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()
    monkeypatch.setattr(macaque.Server, "_connect", staticmethod(network.connect))
    app = macaque.Server()
    app.service("plain")(len)
    app.service("own", credit=1, timeout=2)(len)
    app.config.from_mapping(CREDIT=8)
    monkeypatch.setenv("MACAQUE_TIMEOUT", "30")
    app.start()
    app.service("later")(len)
    assert [(each.topic, each.credit, each.timeout) for each in app._workers] == [
        ("plain", 8, 30.0), ("own", 1, 2), ("later", 8, 30.0)
    ]  # fmt: skip
    app.close()


def test_the_broker_is_looked_up_when_the_server_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACAQUE_BROKER", "nonsense")
    app = macaque.Server()
    monkeypatch.delenv("MACAQUE_BROKER")
    app.config["BROKER"] = "amqp://set.example:1"
    assert [each.url for each in app._find().urls()] == ["amqp://set.example:1"]
    monkeypatch.setenv("MACAQUE_BROKER", "amqp://env.example:1,amqp://env.example:2")
    assert [each.port for each in app._find().urls()] == [1, 2]
    assert [each.url for each in macaque.Server("amqp://own.example:3")._find().urls()] == ["amqp://own.example:3"]
