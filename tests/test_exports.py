"""The public names are a promise: adding one is a decision, and losing one is a breaking change."""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import pkgutil
import pydoc
import queue
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import macaque
import mqlight
from mqlight.amqp.link import Link
from mqlight.dialects.base import Dialect, Wanted
from processes import Server

PUBLIC = {
    "macaque": {
        "Blueprint", "Call", "Cancelled", "Client", "Config", "ConnectionLost", "MacaqueError", "NoResponders",
        "RemoteError", "Reply", "Request", "Results", "Server", "Stream", "StreamBroken", "Timeout", "__version__",
        "abort", "detached", "request",
    },
    "mqlight": {
        "Addresses", "Client", "Condition", "Connection", "DRAIN", "Delivery", "ERROR", "Endpoint", "InternalError",
        "InvalidArgumentError", "Lane", "MALFORMED", "MESSAGE", "MQLightError", "Marks", "Message", "MessageError",
        "NetworkError", "NotPermittedError", "Outcome", "Peer", "QOS_AT_LEAST_ONCE", "QOS_AT_MOST_ONCE", "RETRYING",
        "RangeError", "ReplacedError", "STARTED", "STARTING", "STOPPED", "STOPPING", "Security", "SecurityError",
        "State", "StoppedError", "SubscribedError", "Subscription", "UnsubscribedError", "__version__", "decode",
        "encode",
    },
}  # fmt: skip

TESTING = {"Broker", "Client", "Clock", "DeadLetter", "Published", "client"}
METRICS = {"exposition", "observe"}
"""A module of its own because it needs prometheus-client."""

MADE_BY_THE_LIBRARY = {
    macaque.Call, macaque.Config, macaque.Request, macaque.Results, macaque.Stream, mqlight.Addresses,
    mqlight.Delivery, mqlight.Lane, mqlight.Subscription,
}  # fmt: skip
"""Programs get objects of these classes, and never call their constructors."""
OPAQUE = {Dialect, Link, Wanted}
"""Programs can see that they are there. Only the library uses them."""


def modules(package: str) -> list[str]:
    """The package and all modules in it that can be imported without running a program."""
    path = importlib.import_module(package).__path__
    found = [info.name for info in pkgutil.walk_packages(path, f"{package}.")]
    return [package, *(name for name in found if not name.endswith("__main__"))]


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these(package: str) -> None:
    assert set(importlib.import_module(package).__all__) == PUBLIC[package]


def test_the_public_names_of_the_tests_in_memory_are_these() -> None:
    assert set(importlib.import_module("macaque.testing").__all__) == TESTING


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


def public_objects() -> list[Any]:
    """The classes and functions that the packages export."""
    found = [getattr(importlib.import_module(package), name) for package in PUBLIC for name in sorted(PUBLIC[package])]
    return [each for each in found if inspect.isclass(each) or inspect.isfunction(each)]


def functions_of(public: Any) -> Iterator[Callable[..., object]]:
    """The functions that a program may call with an exported class or function: itself, or its public methods."""
    if inspect.isfunction(public):
        yield public
        return
    for name, member in vars(public).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(function) and is_ours(function) and (name == "__init__" or not name.startswith("_")):
            if name != "__init__" or public not in MADE_BY_THE_LIBRARY:
                yield function


def is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).split(".")[0] in PUBLIC


def classes_in(annotation: Any) -> Iterator[type]:
    """The classes that an annotation names, at any depth."""
    if inspect.isclass(annotation):
        yield annotation
    for inner in typing.get_args(annotation):
        for each in inner if isinstance(inner, list) else [inner]:
            yield from classes_in(each)


def name_of(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


FUNCTIONS = [function for public in public_objects() for function in functions_of(public)]


@pytest.mark.parametrize("public", public_objects(), ids=name_of)
def test_help_shows_no_private_name(public: Any) -> None:
    shown = pydoc.render_doc(public, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    of_named_tuples = {"_asdict", "_cls", "_field_defaults", "_fields", "_make", "_replace", "_tuplegetter"}
    assert set(re.findall(r"(?<![\w.`])_[a-z]\w*", shown)) <= of_named_tuples


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_the_signature_of_a_public_function_names_only_public_classes(function: Callable[..., object]) -> None:
    """A program can make, or at least name, everything that such a function takes and returns."""
    public = {*public_objects(), *OPAQUE}
    hints = typing.get_type_hints(function)
    assert set(hints) == {*inspect.signature(function).parameters, "return"} - {"self", "cls"}
    named = {each for hint in hints.values() for each in classes_in(hint) if is_ours(each)}
    assert named <= public


@pytest.mark.parametrize("public", [*public_objects(), *FUNCTIONS], ids=name_of)
def test_a_public_name_is_documented(public: Any) -> None:
    if public.__name__ == "__init__":
        return  # its class tells
    text = public.__doc__
    assert text and text != getattr(super(public), "__doc__", None) if inspect.isclass(public) else text
    assert text[0].isupper() and text.split("\n\n")[0].rstrip().endswith((".", ":")), text


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_the_documented_arguments_exist_and_seconds_are_named(function: Callable[..., object]) -> None:
    owner = function.__qualname__.rpartition(".")[0]
    text = function.__doc__ or ""
    if function.__name__ == "__init__":
        text = getattr(importlib.import_module(function.__module__), owner).__doc__
    given = set(inspect.signature(function).parameters)
    section = re.search(r"(?ms)^ +Args:\n(.*?)(?=^ +(?:Raises|Returns):|\Z)", text)
    entries = textwrap.dedent(section[1]) if section else ""
    names = {name for names in re.findall(r"(?m)^([\w, ]+):", entries) for name in names.split(", ")}
    assert names <= given
    for name, hint in typing.get_type_hints(function).items():
        if name != "return" and float in classes_in(hint):
            assert re.search(rf"{name}\b.*(second|: as for `)|seconds``", text, re.DOTALL), f"{name} has no unit"


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_every_parameter_is_named_in_the_documentation(function: Callable[..., object]) -> None:
    """But for the sentence of an error, and for methods that only the library calls."""
    owner = getattr(importlib.import_module(function.__module__), function.__qualname__.rpartition(".")[0], None)
    text = (owner if function.__name__ == "__init__" else function).__doc__ or ""
    unnamed = {name for name in inspect.signature(function).parameters if not re.search(rf"\b{name}\b", text)}
    if owner not in (macaque.Call, mqlight.Subscription):
        assert unnamed <= {"self", "cls", "message"}


def test_the_examples_of_the_package_run_with_public_names_only(server: Server) -> None:
    first, second = re.findall(r"((?:^    .*\n|^\n)*^    .*\n)", mqlight.__doc__ or "", re.MULTILINE)
    printed: queue.SimpleQueue[object] = queue.SimpleQueue()
    names: dict[str, Any] = {"mqlight": mqlight, "print": printed.put}
    for example, made in (first, "client"), (second, "connection"):
        exec(textwrap.dedent(example).replace("amqp://127.0.0.1:5672", server.url), names)
        try:
            assert printed.get(timeout=10) == "Hello"
        finally:
            names[made].stop()
