"""A text that is live in every medium, and a search for what is live in a file, whatever its kind."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from markdown_it import MarkdownIt

MARKUP = '[x](javascript:alert(1))<script>alert(1)</script>"><img src=x onerror=alert(1)>'
WORD = f"=HYPERLINK(1)$\\frac$\x1b[2J{MARKUP}`|\u202egnp"
TEXT = f"{WORD}\n# forged\n=HYPERLINK(2)"
NAME = TEXT.replace("/", "")  # of a file
_BARE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Of a cell, a column and a member of an archive, where a control character is refused.
CELL = _BARE.sub("", WORD)
MEMBER = _BARE.sub("", NAME).replace("\n", "")
_LAYOUT = MarkdownIt("commonmark", {"html": True}).enable("table")


class _Page(HTMLParser):
    """Gathers what a browser would run."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.found.append(f"<{tag} {name}={value}>")

    def handle_data(self, data):
        if self.lasttag == "script" and self.rawdata and "alert(1)" in data and self.cdata_elem == "script":
            self.found.append(data)


def in_text(text):
    """What a terminal or a reader of lines would take for something else."""
    forged = [line for line in text.split("\n") if line.startswith(("# forged", "=HYPERLINK(2)"))]
    return [*map(ascii, _BARE.findall(text)), *forged]


def in_html(text):
    page = _Page()
    page.feed(text)
    return [*page.found, *map(ascii, _BARE.findall(text))]


def in_markdown(text):
    found = []
    for part in _LAYOUT.parse(text):
        for each in (part, *(part.children or ())):
            if each.type in ("html_inline", "html_block", "image") or "javascript" in (each.attrGet("href") or ""):
                found.append(each.content or each.type)
            if each.type == "inline" and each.content.startswith("forged"):
                found.append(each.content)
    return found + in_text(text)


def in_svg(text):
    found = []
    for part in ElementTree.fromstring(text).iter():
        names = {name.rpartition("}")[2]: value for name, value in part.attrib.items()}
        acts = any(name.startswith("on") for name in names) or "javascript" in names.get("href", "")
        found += [part.tag] if acts or part.tag.rpartition("}")[2] in ("script", "a", "foreignObject") else []
    return found + in_text(text)


def in_csv(text):
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    live = [cell for cell in cells if cell.startswith(("=", "@", "\t", "\r"))]
    return [*live, *map(ascii, _BARE.findall(text.replace("\r\n", "\n")))]


def in_json(text):
    """Of a file that is JSON, or has a line of JSON for each message."""
    try:
        json.loads(text)
    except ValueError:
        for line in text.splitlines():
            json.loads(line)
    return [*map(ascii, _BARE.findall(text))]


SEARCHES = {
    ".html": in_html,
    ".md": in_markdown,
    ".svg": in_svg,
    ".csv": in_csv,
    ".json": in_json,
    ".jsonl": in_json,
}
EXACT = (".parquet", ".safetensors", ".sqlite", ".db", ".npz")  # data that programs read again


def in_files(folder):
    """Whatever is live in the files of a folder, by their names; files that came in lie there as they came."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in EXACT]
    paths = [path for path in paths if "raw" not in path.parts and not _came_in(path)]
    assert paths
    found = {path: SEARCHES.get(path.suffix, in_text)(_text(path)) for path in paths}
    named = {path: [ascii(path.name)] for path in paths if not path.name.isprintable()}
    return {path.as_posix(): live for path, live in (found | named).items() if live}


def _came_in(path):
    return "quarantine" in path.parts and path.suffix != ".json"


def _text(path):
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise AssertionError(f"{path} is no text") from error
