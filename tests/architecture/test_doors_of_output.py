"""Foreign text goes out by few doors: other modules build no table of Markdown, and write to no log of their own."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("pipeline", "flows") for path in (ROOT / room).rglob("*.py"))
DOORS = {  # what is called or imported -> where that is allowed
    "logging.getLogger": {
        "pipeline/base/escaping.py",
        "pipeline/models/training/trainer.py",
        "pipeline/tracking/store.py",
    },
    "prefect.artifacts": {"flows/runtime/shown.py"},
    "prefect.get_run_logger": {"flows/runtime/shown.py"},
    "html.escape": {"pipeline/base/escaping.py"},
    "csv.DictWriter": set[str](),
    "a row of Markdown": {"pipeline/base/escaping.py"},
}
WORDS = re.compile(r"getLogger|prefect\.artifacts|get_run_logger|html|DictWriter|[\"']\| ")
SIMULATED = "pipeline/datasets/synthetic/"  # writes files that are read as records


def used(tree):
    """The doors that a module uses, by their names above."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.match(r"\| | \|$", node.value):
            yield "a row of Markdown"


@pytest.fixture(scope="module")
def uses():
    """Door -> the files that use it; a file that has no such word is not parsed."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in SOURCES}
    found = {name: set(used(ast.parse(text))) for name, text in texts.items() if WORDS.search(text)}
    return {door: {name for name, doors in found.items() if door in doors} for door in DOORS}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_used_where_it_stands_alone(door, uses):
    assert {name for name in uses[door] if not name.startswith(SIMULATED)} <= DOORS[door]


@pytest.mark.parametrize(
    ("door", "source"),
    [
        ("logging.getLogger", "import logging\nlog = logging.getLogger('a')"),
        ("prefect.artifacts", "from prefect.artifacts import create_markdown_artifact"),
        ("prefect.get_run_logger", "from prefect import flow, get_run_logger"),
        ("a row of Markdown", "line = f'| {name} |'"),
        ("html.escape", "import html\nhtml.escape(name)"),
    ],
)
def test_such_a_use_is_found(door, source):
    assert door in used(ast.parse(source))
