"""The page's files: complete, self-contained, cached by their content."""

from __future__ import annotations

import re
from importlib import resources

from fastapi.testclient import TestClient

FOLDER = resources.files("fleetseg.web") / "page"
TEXTS = {item.name: item.read_text(encoding="utf-8") for item in FOLDER.iterdir()}


def test_every_file_that_is_named_is_served(client: TestClient) -> None:
    named = {name for text in TEXTS.values() for name in re.findall(r'(?:/page|from "\.)/([\w.]+)"', text)}
    assert {"main.js", "style.css", "api.js"} <= named
    for name in named:
        assert client.get(f"/page/{name}").status_code == 200, name
    assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/page/main.js").headers["content-type"].startswith("text/javascript")


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    for name, text in TEXTS.items():
        found = re.findall(r"https?://[^\s\"')]+", text)
        assert [address for address in found if address != "http://www.w3.org/2000/svg"] == [], name
        if name.endswith(".html"):
            assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\bsrc=)", text), name


def test_unchanged_files_are_not_sent_again(client: TestClient) -> None:
    tag = client.get("/page/style.css").headers["etag"]
    again = client.get("/page/style.css", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_elements_that_scripts_ask_for_exist() -> None:
    ids = set(re.findall(r'\bid="([\w-]+)"', TEXTS["index.html"] + TEXTS["docs.html"]))
    for name in ("main.js", "stage.js", "legend.js", "pictures.js", "saving.js", "docs.js"):
        asked = set(re.findall(r'(?:\$|getElementById|slider)\("([\w-]+)"', TEXTS[name]))
        assert asked <= ids, (name, asked - ids)
