"""Every code block of the README and of docs/fishalive.md runs, as tests/pages.py describes. These kinds are their own:

- `make`        calls of make: targets and variables that the Makefile has
- `cf`          calls of cf: names that the manifest has, and credentials that connect
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from macaque.broker import from_environment
from mqlight.addresses import Addresses
from pages import Block, Reader, unchecked
from processes import ROOT, Server, Spawn

PAGES = [ROOT / "README.md", ROOT / "docs/fishalive.md"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


class ReadmeReader(Reader):
    """Does what these pages say."""

    def make(self, block: Block) -> None:
        targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
        variables = set(re.findall(r"^(\w+) \?=", MAKEFILE, re.MULTILINE))
        for program, target, *settings in block.commands():
            assert program == "make" and target in targets
            assert {setting.partition("=")[0] for setting in settings} <= variables

    def cf(self, block: Block) -> None:
        apps = yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))["applications"]
        verbs = []
        for program, verb, *rest in block.commands():
            assert program == "cf"
            verbs.append(verb)
            if verb == "create-user-provided-service":
                name, option, credentials = rest
                assert option == "-p" and all(app["services"] == [name] for app in apps)
                bound = {"user-provided": [{"name": name, "credentials": json.loads(credentials)}]}
                found = from_environment({"VCAP_SERVICES": json.dumps(bound)})
                assert found and [each.scheme for each in Addresses.of(*found).urls()] == ["amqps"]
                assert set(found[1]) == {"user", "password"}
            elif verb == "scale":
                assert rest[0] in {app["name"] for app in apps}
        assert verbs == ["create-user-provided-service", "push", "scale"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_how_it_is_checked(page: Path) -> None:
    assert unchecked(page, ReadmeReader.kinds()) == []
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    assert not re.search(r"^(?: {4}|\t)\S", text, re.MULTILINE), "an indented block is not checked"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_works_from_top_to_bottom(page: Path, server: Server, spawn: Spawn, tmp_path: Path) -> None:
    ReadmeReader(server.url, spawn, tmp_path).follow(page)


@pytest.mark.parametrize(
    "path",
    [each for pattern in ("*.md", "*/*.md", "examples/*/*.md") for each in sorted(ROOT.glob(pattern))],
    ids=lambda path: path.name,
)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    if path.parts[len(ROOT.parts)].startswith("."):
        return
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
