"""How long a file and a function may be, docstrings counted."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE, LONGEST_FUNCTION = 300, 50
SOURCES = sorted(path for room in ("pipeline", "flows", "deploy") for path in (ROOT / room).rglob("*.py"))


def functions(text):
    """(name, lines from ``def`` to the end of the body) of each function, those within others included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return [(node.name, node.end_lineno - node.lineno + 1) for node in found]


def test_the_sources_are_found():
    assert len(SOURCES) > 100


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_and_no_function_is_too_long(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    assert [(name, lines) for name, lines in functions(text) if lines > LONGEST_FUNCTION] == []
