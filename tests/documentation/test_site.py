"""The documentation builds without a warning, its links lead somewhere, and no page needs another host."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from tests.documentation.pages import ROOT, blocks, name, text

LOADS = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "use": "href"}
OUTSIDE = re.compile(r"^(https?:)?//")
README = ROOT / "README.md"


class Page(HTMLParser):
    """What a page loads, where its links lead and which places it has."""

    def __init__(self, html):
        super().__init__()
        self.loads, self.links, self.places = [], [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.places |= {given[key] for key in ("id", "name") if given.get(key)}
        if target := given.get(LOADS.get(tag, "")):
            self.loads.append(target)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_is_built(site, pages):
    for page in (ROOT / "docs").rglob("*.md"):
        assert site / page.relative_to(ROOT / "docs").with_suffix(".html") in pages, name(page)


def test_no_page_loads_anything_from_another_host(site, pages):
    assert {target for page in pages.values() for target in page.loads if OUTSIDE.match(target)} == set()
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    styles += re.findall(r"<style.*?</style>", "".join(path.read_text(encoding="utf-8") for path in pages), re.DOTALL)
    loaded = {target for style in styles for target in re.findall(r"url\([\"']?([^\"')]+)|@import", style)}
    assert {target for target in loaded if OUTSIDE.match(target)} == set()


def test_every_file_that_a_page_loads_is_there(site, pages):
    for path, page in pages.items():
        if path.name != "404.html":  # it may be shown for any address
            assert [t for t in page.loads if not (path.parent / unquote(urlsplit(t).path)).exists()] == [], path


def test_every_link_leads_to_a_place(site, pages):
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), (path, link)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].places, (path, link)


def test_formulas_are_drawn_by_the_browser_alone(site):
    science = (site / "science.html").read_text(encoding="utf-8")
    assert science.count("<math") > 20
    assert "arithmatex" not in science


def test_the_search_needs_no_server(site):
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    found = json.loads(index.partition("=")[2])["docs"]
    assert any("quarantine" in page["text"] for page in found)
    assert 'src="assets/iframe-worker.js"' in (site / "index.html").read_text(encoding="utf-8")


# README is read where the repository is shown, and is no page of the site.


def test_the_readme_is_short():
    assert len(text(README).split()) <= 1200


def test_the_links_of_the_readme_lead_to_files():
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text(README))]
    assert len(links) > 10
    assert [link for link in links if not OUTSIDE.match(link) and not (ROOT / link).is_file()] == []


def test_the_figures_of_the_readme_are_those_of_the_measurements():
    table = re.compile(r"^\| unseen attacks \|.*?\n\n", re.MULTILINE | re.DOTALL)
    assert table.search(text(README))[0] == table.search(text(ROOT / "docs" / "measurements" / "index.md"))[0]


def test_the_readme_shows_commands():
    assert len(blocks(README, "sh")) >= 3
