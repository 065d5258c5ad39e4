"""The public names are a promise: adding one is a decision, and losing one is a breaking change."""

from __future__ import annotations

import importlib
import importlib.resources
import pkgutil
from types import ModuleType

import pytest

PUBLIC = {
    "macaque": {
        "Call", "Client", "ConnectionLost", "MacaqueError", "NoResponders", "RemoteError", "Server", "Timeout",
        "__version__", "abort",
    },
    "mqlight": {
        "Client", "Connection", "DRAIN", "ERROR", "InternalError", "InvalidArgumentError", "MALFORMED", "MESSAGE",
        "MQLightError", "Message", "NetworkError", "NotPermittedError", "QOS_AT_LEAST_ONCE", "QOS_AT_MOST_ONCE",
        "RETRYING", "RangeError", "ReplacedError", "STARTED", "STARTING", "STOPPED", "STOPPING", "SecurityError",
        "StoppedError", "SubscribedError", "UnsubscribedError", "__version__",
    },
}  # fmt: skip

METRICS = {"exposition", "observe"}
"""A module of its own because it needs prometheus-client."""


def modules(package: str) -> list[str]:
    """The package and all modules in it that can be imported without running a program."""
    path = importlib.import_module(package).__path__
    found = [info.name for info in pkgutil.walk_packages(path, f"{package}.")]
    return [package, *(name for name in found if not name.endswith("__main__"))]


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these(package: str) -> None:
    assert set(importlib.import_module(package).__all__) == PUBLIC[package]


def test_the_public_names_of_the_metrics_are_these() -> None:
    assert set(importlib.import_module("macaque.metrics").__all__) == METRICS


@pytest.mark.parametrize("name", [name for package in PUBLIC for name in modules(package)])
def test_every_name_in_all_exists_and_is_listed_once(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert len(set(listed)) == len(listed)
    assert [each for each in listed if not hasattr(module, each)] == []


@pytest.mark.parametrize("package", PUBLIC)
def test_the_package_says_that_it_is_typed(package: str) -> None:
    assert importlib.resources.files(package).joinpath("py.typed").is_file()
