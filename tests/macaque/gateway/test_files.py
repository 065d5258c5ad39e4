from __future__ import annotations

from pathlib import Path
from typing import Any

from werkzeug.test import create_environ, run_wsgi_app

from macaque.gateway.files import Files


def get(files: Files, path: str, **headers: str) -> tuple[str, dict[str, str], bytes] | None:
    environ = create_environ(path, headers=headers)
    found = files.find(path, environ)
    if found is None:
        return None
    body, status, head = run_wsgi_app(found, environ, buffered=True)
    return status[:3], dict(head), b"".join(body)


def test_the_files_of_a_folder_are_served_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    for name in ("index.html", "app.js", "deep/index.html", ".env", ".git/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inside").symlink_to(folder / "app.js")
    files = Files(folder)
    for path, content in {
        "/": "index.html",
        "/app.js": "app.js",
        "/deep/": "deep/index.html",
        "/inside": "app.js",
    }.items():
        found = get(files, path)
        assert found is not None and found[0] == "200" and found[2] == content.encode()
    for path in ("/.env", "/.git/config", "/link", "/missing", "/../secret", "//app.js", "/deep", ""):
        assert files.find(path, create_environ("/")) is None, path


def test_a_file_is_sent_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "app.js"
    file.write_text("one")
    files = Files(tmp_path)
    first = get(files, "/app.js")
    assert first is not None and "javascript" in first[1]["Content-Type"]
    again: Any = get(files, "/app.js", If_None_Match=first[1]["ETag"])
    assert again[0] == "304" and again[2] == b""
    file.write_text("three")
    changed: Any = get(files, "/app.js", If_None_Match=first[1]["ETag"])
    assert changed[0] == "200" and changed[2] == b"three"
    file.unlink()
    assert get(files, "/app.js") is None
