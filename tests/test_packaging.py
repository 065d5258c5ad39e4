"""The packages: `python -m build`, the content of its files, and a wheel that works without the checkout."""

from __future__ import annotations

import re
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from environments import bare_environ, copy_tree, install, make_environment, run
from processes import ROOT, Process

SERVICE = """
import macaque
app = macaque.Server()
@app.service("greet", share_id="greeters")
def greet(name):
    return "Hello, " + name
app.run()
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree as a clone has it: nothing in it was compiled."""
    return copy_tree(tmp_path_factory.mktemp("clone") / "tree", ROOT / ".gitignore")


@pytest.fixture(scope="module")
def dist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source distribution and the wheel made from it."""
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--outdir", folder, tree], tree, MACAQUE_PURE="1")
    return folder


@pytest.fixture(scope="module")
def sdist(dist: Path) -> set[str]:
    (path,) = dist.glob("macaque_amqp-*.tar.gz")
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("macaque_amqp-*-py3-none-any.whl")  # plain Python, for every machine
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def tracked(*folders: str) -> set[str]:
    """The files of folders that the sources hold."""
    listed = run(["git", "ls-files", "-co", "--exclude-standard", "-z", *folders], ROOT).split("\0")
    return {path for path in listed if path and (ROOT / path).exists()}


def test_the_source_distribution_has_what_it_needs_and_nothing_stray(sdist: set[str]) -> None:
    named = {
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "MANIFEST.in",
        "SECURITY.md",
        "pyproject.toml",
        "setup.py",
    }
    made = {path for path in sdist if path.endswith(".egg-info") or ".egg-info/" in path} | {"PKG-INFO", "setup.cfg"}
    assert sdist - made == named | tracked("macaque", "mqlight", "docs", "examples")


def test_the_wheel_has_the_two_packages_and_their_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    compiled = {name for name in names if name.endswith(".so")}
    assert names - compiled == tracked("macaque", "mqlight")
    assert {"macaque/py.typed", "mqlight/py.typed"} <= names


def test_the_pages_on_pypi_lead_somewhere(metadata: Message) -> None:
    sources = {url.partition(", ")[0]: url.partition(", ")[2] for url in metadata.get_all("Project-URL", [])}
    assert {"Source", "Documentation", "Changelog", "Issues"} <= set(sources)
    description = str(metadata.get_payload())
    targets = re.findall(r"\]\(([^)]+)\)", description)
    assert "docs/screenshot.png" in " ".join(targets)
    for target in targets:
        assert target.startswith("https://"), f"PyPI shows the README alone, and {target} would lead nowhere"
        if target.startswith(sources["Source"]):
            path = re.sub(r"^/(blob|raw)/main/|#.*$", "", target.removeprefix(sources["Source"]))
            assert (ROOT / path).exists(), target


def test_the_wheel_works_in_an_environment_and_a_folder_of_its_own(
    wheel: Path, tree: Path, tmp_path: Path, start: Callable[..., Process]
) -> None:
    python = make_environment(tmp_path / "environment")
    install(python, str(wheel), cwd=tmp_path)
    without = start(python, "-m", "mqlight.server")
    assert without.wait(20) == 2
    assert re.fullmatch(r".*pip install 'macaque-amqp\[server\]'.*\n", without.log()), without.log()

    install(python, f"{wheel}[server]", cwd=tmp_path)
    server = start(python, "-m", "mqlight.server", "--port", "0", "--console-port", "0")
    broker = server.expect(r"(amqp://\S+:\d+)$")[1]
    console = server.expect(r"console at (http://\S+)$")[1]
    for name in ("", "app.js", "design.css"):
        with urllib.request.urlopen(console + name, timeout=10) as response:
            assert response.status == 200 and response.read()
    (tmp_path / "service.py").write_text(SERVICE, encoding="utf-8")
    start(python, "service.py", MACAQUE_BROKER=broker).expect("serv(es|ing) ")
    call = [python.parent / "macaque", "call", "--broker", broker, "greet", '"fish"']
    assert run(call, tmp_path) == '"Hello, fish"\n'
    run([python.parent / "macaque", "new", "shop"], tmp_path)
    assert {".gitignore", "shop.py", "test_shop.py"} <= {path.name for path in (tmp_path / "shop").iterdir()}
    versions = "import macaque, mqlight; print(macaque.__version__, mqlight.__version__)"
    version = wheel.name.split("-")[1]
    assert run([python, "-c", versions], tmp_path).split() == [version, version]

    # In a clone, whose sources are found before the package, that one still works.
    where = run([python, "-c", "import macaque, mqlight.amqp.engine as engine; print(engine.__file__)"], tree)
    assert Path(where.strip()) == tree / "mqlight/amqp/engine.py"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a Python in `tmp_path`, far from the sources: `start(python, "-m", "module", VARIABLE="value")`."""
    started: list[Process] = []

    def start(python: Path, *arguments: str, **environ: str) -> Process:
        started.append(Process([str(python), *arguments], environ, tmp_path, base=bare_environ()))
        return started[-1]

    yield start
    for process in started:
        process.close()
