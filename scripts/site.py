"""Make the site of docs/ in build/site: `python scripts/site.py`, after `pip install -e '.[docs]'`.

The pages of docs/ and a few beside it are laid out in build/pages. Links to other files lead to the repository.
Zensical then reads mkdocs.yml. It fails at a dead link, a missing anchor and an unknown name.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
SOURCE = CONFIGURATION["extra"]["source"]
BESIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/kubernetes/README.md": "kubernetes.md",
}
"""Pages of the site that are not in docs/: their paths in the repository, and their names in the site."""
WIDE = {"README.md", "comparison.md"}
"""Pages that have no list of pages beside them."""
WIDE_HEAD = "---\nhide: [navigation]\n---\n"


def titles(entries: list[Any]) -> Iterator[tuple[str, str]]:
    """Each page of the navigation, and its title there."""
    for entry in entries:
        for title, value in entry.items():
            if isinstance(value, list):
                yield from titles(value)
            else:
                yield value, title


TITLES = dict(titles(CONFIGURATION["nav"]))


def target_of(link: str, page: str) -> str:
    """Return the target that a link has in the site. `page` is the path of its page in the repository."""
    path, anchor, name = link.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    if path in BESIDE:
        return BESIDE[path] + anchor + name
    if path.startswith("docs/"):
        return path.removeprefix("docs/") + anchor + name
    return f"{SOURCE}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}{anchor}{name}"


def for_the_site(text: str, page: str) -> str:
    """Return the text of a page with the links that the site needs.

    A link to a page whose text is the name of its file gets the page's title.
    """

    def inline(found: re.Match[str]) -> str:
        target = target_of(found[2], page)
        words = TITLES.get(target.partition("#")[0], found[1]) if found[1].endswith(".md") else found[1]
        return f"[{words}]({target})"

    text = re.sub(r"\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)", inline, text)
    return re.sub(r"(?m)^(\[[\w-]+\]: )(?!\w+:|#)(\S+)", lambda found: found[1] + target_of(found[2], page), text)


def stage(pages: Path) -> None:
    """Lay out in `pages` the files that the site is made from."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages)
    shutil.copy(ROOT / "mqlight/server/console/static/favicon.svg", pages)
    sources = {**{f"docs/{page.name}": page.name for page in pages.glob("*.md")}, **BESIDE}
    for path, name in sources.items():
        head = WIDE_HEAD if name in WIDE else ""
        text = for_the_site((ROOT / path).read_text(encoding="utf-8"), path)
        (pages / name).write_text(head + text, encoding="utf-8")


if __name__ == "__main__":
    os.chdir(ROOT)
    stage(ROOT / "build/pages")
    shutil.rmtree(ROOT / "build/site", ignore_errors=True)
    os.execv(sys.executable, [sys.executable, "-m", "zensical", "build", "--clean", "--strict"])
