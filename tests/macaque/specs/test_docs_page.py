"""The commands of docs/asyncapi.md do what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from pages import KINDS, Reader, unchecked
from processes import ROOT, Server, Spawn

PAGE = ROOT / "docs/asyncapi.md"


def test_every_block_of_the_page_says_how_it_is_checked() -> None:
    assert unchecked(PAGE, KINDS) == []


def test_the_page_works_from_top_to_bottom(server: Server, spawn: Spawn, tmp_path: Path) -> None:
    Reader(server.url, spawn, tmp_path).follow(PAGE)
    document = json.loads((tmp_path / "shop.json").read_text(encoding="utf-8"))
    assert document["operations"]["shop_buy"]["summary"] == "Buy an item."
    assert yaml.safe_load((tmp_path / "shop.yaml").read_text(encoding="utf-8"))["operations"] == document["operations"]
    assert "/shop/buy" in json.loads((tmp_path / "openapi.json").read_text(encoding="utf-8"))["paths"]
    for name, text in (
        ("shop", "macaque stream shop/prices"),
        ("all", "shop/buy"),
        ("http", "https://shop.example/shop/buy"),
    ):
        assert text in (tmp_path / f"{name}.html").read_text(encoding="utf-8")
