"""Static files: the files that were in a folder when the gateway started.

No name in a request leads to a file: each file has its path, and no other one is served. Hidden files, and links out of
the folder, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.utils import send_file

__all__ = ["HEADERS", "Files"]

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "manifest-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
"""Headers of every file: a page needs only the files and the services of its own site, and no inline script."""


class Files:
    """The files of a folder, by the path of their URL. `index.html` stands for its folder."""

    def __init__(self, folder: Path) -> None:
        root = folder.resolve()
        self._files: dict[str, Path] = {}
        for file in root.rglob("*"):
            name = file.relative_to(root)
            if not file.is_file() or any(part.startswith(".") for part in name.parts):
                continue
            if file.resolve().is_relative_to(root):
                self._files[f"/{name.as_posix()}"] = file
                if name.name == "index.html":
                    self._files[f"/{name.as_posix()}".removesuffix("index.html")] = file

    def find(self, path: str, environ: dict[str, Any]) -> Application | None:
        """Return the answer to a request for a path, or None without such a file."""
        file = self._files.get(path)
        if file is None or not file.is_file():
            return None
        response: Application = send_file(file, environ, conditional=True, etag=True, max_age=0)
        return response
