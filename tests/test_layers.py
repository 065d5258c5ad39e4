"""The layers of docs/design.md: nothing imports upwards or sideways, and what is pure stays pure."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import ROOT

# What each layer may import of ours. The longest name that fits a module is its layer.
LAYERS = {
    "mqlight.amqp": {"mqlight.amqp"},
    "mqlight.wire": {"mqlight.wire", "mqlight.amqp"},
    "mqlight.server": {"mqlight.server", "mqlight.wire", "mqlight.amqp"},
    "mqlight": {"mqlight", "mqlight.wire", "mqlight.amqp"},
    "macaque": {"macaque", "mqlight", "mqlight.wire", "mqlight.amqp"},
    "backend": {"backend", "macaque"},
    "frontend": {"frontend", "macaque"},
    "examples": {"macaque", "mqlight"},
}
OURS = {name.split(".")[0] for name in LAYERS}

# Where the decisions live: they get time, randomness and bytes as arguments. In mqlight.wire that is every file but the
# drivers, so that a new one has to be pure or named here.
DRIVERS = {f"mqlight/wire/{name}.py" for name in ("channel", "clock", "forks", "process", "tcp", "threads")}
PURE = [
    "frontend/command.py",
    "frontend/inbox.py",
    "frontend/reply.py",
    "frontend/settings.py",
    "macaque/answers.py",
    "macaque/clocks.py",
    "macaque/cycles.py",
    "macaque/deadlines.py",
    "macaque/envelope.py",
    "macaque/environment.py",
    "macaque/errors.py",
    "macaque/invocation.py",
    "macaque/letter.py",
    "macaque/pending.py",
    "macaque/plain.py",
    "macaque/registry.py",
    "macaque/retries.py",
    "mqlight/arguments.py",
    "mqlight/errors.py",
    "mqlight/jsontext.py",
    "mqlight/payload.py",
    "mqlight/server/access.py",
    "mqlight/server/broker.py",
    "mqlight/server/ledger.py",
    "mqlight/server/limits.py",
    "mqlight/server/permissions.py",
    "mqlight/server/sasl.py",
    "mqlight/server/verified.py",
    "mqlight/backoff.py",
    "mqlight/outgoing.py",
    "mqlight/session.py",
    "mqlight/subscription.py",
    *sorted(f"mqlight/amqp/{path.name}" for path in (ROOT / "mqlight/amqp").glob("*.py")),
    *sorted({f"mqlight/wire/{path.name}" for path in (ROOT / "mqlight/wire").glob("*.py")} - DRIVERS),
]
IMPURE = {
    "asyncio", "bottle", "concurrent", "gevent", "io", "multiprocessing", "os", "pathlib", "queue", "random", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading",
    "time", "urllib",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "now", "utcnow", "today", "uuid1", "uuid4"}

PROTON = {"proton", "cproton", "cproton_ffi"}
SOURCES = sorted(path for name in OURS for path in (ROOT / name).rglob("*.py"))


def module(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(name: str) -> str:
    """The layer that a module of ours belongs to."""
    return max((known for known in LAYERS if f"{name}.".startswith(f"{known}.")), key=len)


def imports(path: Path, *, for_types_too: bool = True) -> Iterator[str]:
    """Every module that a file imports, wherever in the file, relative imports made absolute."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
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
            # `from mqlight import wire` names a module as well as `import mqlight.wire` does.
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield whole if _is_module(whole) else base


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


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


@pytest.mark.parametrize("path", sorted((ROOT / "mqlight/amqp").glob("*.py")), ids=name_of)
def test_the_engine_needs_nothing_but_the_standard_library(path: Path) -> None:
    used = {imported.split(".")[0] for imported in imports(path, for_types_too=False)}
    assert used <= {*sys.stdlib_module_names, "mqlight"}


@pytest.mark.parametrize("path", [ROOT / name for name in PURE], ids=name_of)
def test_a_pure_file_imports_no_socket_thread_clock_file_or_environment(path: Path) -> None:
    found = {imported.split(".")[0] for imported in imports(path, for_types_too=False)}
    assert not found & IMPURE, f"{name_of(path)} imports {sorted(found & IMPURE)}"


@pytest.mark.parametrize("path", [ROOT / name for name in PURE], ids=name_of)
def test_a_pure_file_opens_no_file_prints_nothing_and_asks_no_clock(path: Path) -> None:
    calls = [n.func for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    names |= {call.attr for call in calls if isinstance(call, ast.Attribute)} - {"open", "input"}  # AMQP opens as well
    assert not names & IMPURE_CALLS, f"{name_of(path)} calls {sorted(names & IMPURE_CALLS)}"


@pytest.mark.parametrize("path", [ROOT / name for name in PURE], ids=name_of)
def test_a_pure_file_imports_only_pure_files_of_ours(path: Path) -> None:
    """Purity is worth little if it is borrowed: what a pure file imports of ours is pure as well."""
    for imported in imports(path, for_types_too=False):
        if imported.split(".")[0] in OURS:
            target = ROOT.joinpath(*imported.split("."))
            file = target / "__init__.py" if target.is_dir() else target.with_suffix(".py")
            assert name_of(file) in PURE or file.name == "__init__.py", f"{name_of(path)} imports {imported}"
