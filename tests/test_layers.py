"""The shape of docs/design.md: no import upwards, sideways or round; pure folders; short files, each with its tests."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from processes import ROOT

SHARED = {"mqlight.environment", "mqlight.log", "mqlight.log_format"}
"""Files of mqlight that stand on the lowest layer, and that every other one may use."""
MQLIGHT = {"mqlight.dialects", "mqlight.net", "mqlight.net.tls", "mqlight.amqp", *SHARED}

# What each layer may import of ours. The longest name that fits a module is its layer.
LAYERS = {
    "mqlight.amqp": {"mqlight.amqp"},
    "mqlight.environment": set(),
    "mqlight.log": {"mqlight.amqp"},
    "mqlight.log_format": {"mqlight.amqp"},
    "mqlight.dialects": {"mqlight.dialects", "mqlight.amqp"},
    "mqlight.net": {"mqlight.net", "mqlight.net.tls", "mqlight.amqp", "mqlight.log"},
    "mqlight.net.tls": {"mqlight.amqp"},
    "mqlight.server": {"mqlight.server", "mqlight.amqp", "mqlight.net.tls", *SHARED},
    "mqlight": {"mqlight", *MQLIGHT},
    "macaque": {"macaque", "mqlight", *MQLIGHT},
    "macaque.testing": {"macaque.testing", "macaque", "mqlight", "mqlight.server", *MQLIGHT},
    "backend": {"backend", "macaque"},
    "frontend": {"frontend", "macaque"},
    "examples": {"macaque", "macaque.testing", "mqlight"},
}
OURS = {name.split(".")[0] for name in LAYERS}

# Where the decisions live: they get time, randomness and bytes as arguments. Two folders are pure as a whole.
PURE_FOLDERS = ("mqlight/amqp", "mqlight/dialects")
PURE = [
    "frontend/command.py",
    "frontend/inbox.py",
    "frontend/reply.py",
    "frontend/settings.py",
    "macaque/arguments.py",
    "macaque/clocks.py",
    "macaque/context.py",
    "macaque/control.py",
    "macaque/cycles.py",
    "macaque/dead_letter.py",
    "macaque/deadlines.py",
    "macaque/envelope.py",
    "macaque/environment.py",
    "macaque/errors.py",
    "macaque/faults.py",
    *(f"macaque/gateway/{name}.py" for name in ("allowed", "cors", "settings", "visitor")),
    "macaque/hooks.py",
    *(f"macaque/http/{name}.py" for name in ("answer", "events", "query", "request")),
    "macaque/idempotency.py",
    "macaque/kinds.py",
    "macaque/observe/info.py",
    "macaque/pending.py",
    "macaque/plain.py",
    "macaque/policy.py",
    "macaque/published.py",
    "macaque/registry.py",
    "macaque/retries.py",
    "macaque/specs/asyncapi.py",
    "macaque/specs/calls.py",
    "macaque/specs/example.py",
    "macaque/specs/fields.py",
    "macaque/specs/keywords.py",
    "macaque/specs/openapi.py",
    "macaque/specs/schemas.py",
    "macaque/specs/topics.py",
    "macaque/specs/wire.py",
    "macaque/traces.py",
    "macaque/typed.py",
    "mqlight/arguments.py",
    "mqlight/environment.py",
    "mqlight/errors.py",
    "mqlight/functions.py",
    "mqlight/log.py",
    "mqlight/log_format.py",
    "mqlight/server/destination.py",
    "mqlight/server/publication.py",
    "mqlight/json_text.py",
    "mqlight/payload.py",
    "mqlight/server/access.py",
    "mqlight/server/broker.py",
    "mqlight/server/capacity.py",
    "mqlight/server/client.py",
    "mqlight/server/directory.py",
    "mqlight/server/dispatcher.py",
    "mqlight/server/records.py",
    *(
        f"mqlight/server/console/{name}.py"
        for name in (
            "__init__",
            "calls",
            "clients",
            "content",
            "dead",
            "demo",
            "destinations",
            "history",
            "mailbox",
            "messages",
            "overview",
            "query",
            "services",
            "views",
            "why",
        )
    ),
    "mqlight/server/journal.py",
    "mqlight/server/limits.py",
    "mqlight/server/links.py",
    "mqlight/server/observer.py",
    "mqlight/server/permissions.py",
    "mqlight/server/queued.py",
    "mqlight/server/sasl.py",
    "mqlight/server/throttle.py",
    "mqlight/server/password_cache.py",
    "mqlight/reconnect.py",
    "mqlight/outgoing.py",
    "mqlight/senders.py",
    "mqlight/protocol.py",
    "mqlight/subscription.py",
    "mqlight/subscriptions.py",
    "mqlight/timers.py",
    "mqlight/urls.py",
    *sorted({f"{folder}/{path.name}" for folder in PURE_FOLDERS for path in (ROOT / folder).glob("*.py")}),
]
IMPURE = {
    "asyncio", "bottle", "concurrent", "gevent", "io", "multiprocessing", "os", "pathlib", "queue", "random", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading",
    "time", "urllib",
}  # fmt: skip
PURE_OF_IMPURE = {"urllib.parse"}
ERRORS_OF = {"asyncio", "concurrent", "sys"}
"""Modules that macaque/errors.py imports only for the classes of their errors, by the version of Python."""
IMPURE_CALLS = {"open", "print", "input", "now", "utcnow", "today", "uuid1", "uuid4"}

PROTON = {"proton", "cproton", "cproton_ffi"}
# The template of `macaque new` is a project of its own, and no part of the package.
SOURCES = sorted(path for name in OURS for path in (ROOT / name).rglob("*.py") if "project-template" not in path.parts)

# Packages whose files import each other in one direction, are short, and have each a test file.
STRICT = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in ("macaque", "mqlight")]
MOST_LINES, MOST_LINES_OF_A_CLASS = 400, 300


def module(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(name: str) -> str:
    """The layer that a module of ours belongs to."""
    return max((known for known in LAYERS if f"{name}.".startswith(f"{known}.")), key=len)


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path, *, for_types_too: bool = True) -> Iterator[str]:
    """Every module that a file imports, wherever in the file, relative imports made absolute."""
    tree = parsed(path)
    skipped: set[ast.AST] = set()
    if not for_types_too:
        blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)]
        skipped = {inner for block in blocks for line in block.body for inner in ast.walk(line)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module(path).split(".")
                package = package[: len(package) - node.level + (path.name == "__init__.py")]
                base = ".".join([*package, base] if base else package)
            # `from mqlight import net` names a module as well as `import mqlight.net` does.
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield whole if _is_module(whole) else base


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def file_of(name: str) -> Path:
    """The file of a module of ours."""
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def reached(start: str, graph: dict[str, set[str]]) -> set[str]:
    """The modules that a module imports, directly or not."""
    found: set[str] = set()
    open_ends = [start]
    while open_ends:
        for each in graph.get(open_ends.pop(), set()) - found:
            found.add(each)
            open_ends.append(each)
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check() -> None:
    assert {layer(module(path)) for path in SOURCES} == set(LAYERS)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_imports_upwards_or_sideways(path: Path) -> None:
    own = layer(module(path))
    for imported in imports(path):
        if imported.split(".")[0] in OURS:
            assert layer(imported) in LAYERS[own], f"{name_of(path)} ({own}) imports {imported}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_knows_proton_but_the_tests(path: Path) -> None:
    assert not PROTON & {imported.split(".")[0] for imported in imports(path)}


def test_the_engine_needs_nothing_but_the_standard_library() -> None:
    """Neither mqlight.amqp nor what it imports does. A message has its own encoder, and is not the engine's."""
    known, open_ends = set(), ["mqlight.amqp"]
    while open_ends:
        name = open_ends.pop()
        if name not in known and name != "mqlight":
            known.add(name)
            assert name.split(".")[0] in {*sys.stdlib_module_names, "mqlight"}
            open_ends += imports(file_of(name), for_types_too=False) if name.startswith("mqlight.") else []
    assert "mqlight.amqp.engine" in known


def test_no_two_files_import_each_other() -> None:
    """Neither directly nor through others, nor for types alone."""
    graph = {module(path): {each for each in imports(path) if _is_module(each)} for path in STRICT}
    reach = {name: reached(name, graph) for name in graph}
    circles = {frozenset(each for each in reach[name] if name in reach.get(each, ())) for name in graph}
    assert circles == {frozenset()}


@pytest.mark.parametrize("path", STRICT, ids=name_of)
def test_a_file_and_a_class_fit_in_a_head(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    }
    assert text.count("\n") <= MOST_LINES and max(lines.values(), default=0) <= MOST_LINES_OF_A_CLASS, lines


@pytest.mark.parametrize("path", STRICT, ids=name_of)
def test_a_file_has_its_tests_in_a_file_of_its_name(path: Path) -> None:
    if not path.name.startswith("__"):
        inner = path.relative_to(ROOT).parent
        places = [ROOT / "tests" / inner, ROOT / "tests" / path.parent.name]
        assert any((place / f"test_{path.name}").exists() for place in places)


@pytest.mark.parametrize("path", [ROOT / name for name in PURE], ids=name_of)
def test_a_pure_file_imports_no_socket_thread_clock_file_or_environment(path: Path) -> None:
    found = {each.split(".")[0] for each in imports(path, for_types_too=False) if each not in PURE_OF_IMPURE}
    if path.name == "errors.py":
        found -= ERRORS_OF
    assert not found & IMPURE, f"{name_of(path)} imports {sorted(found & IMPURE)}"


@pytest.mark.parametrize("path", [ROOT / name for name in PURE], ids=name_of)
def test_a_pure_file_opens_no_file_prints_nothing_and_asks_no_clock(path: Path) -> None:
    calls = [n.func for n in ast.walk(parsed(path)) if isinstance(n, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    names |= {call.attr for call in calls if isinstance(call, ast.Attribute)} - {"open", "input"}  # AMQP opens as well
    assert not names & IMPURE_CALLS, f"{name_of(path)} calls {sorted(names & IMPURE_CALLS)}"


@pytest.mark.parametrize("path", [ROOT / name for name in PURE], ids=name_of)
def test_a_pure_file_imports_only_pure_files_of_ours(path: Path) -> None:
    """Purity is worth little if it is borrowed: what a pure file imports of ours is pure as well."""
    for imported in imports(path, for_types_too=False):
        if imported.split(".")[0] in OURS:
            file = file_of(imported)
            assert name_of(file) in PURE or file.name == "__init__.py", f"{name_of(path)} imports {imported}"
