"""What the repository promises about itself."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = [ROOT / name for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()]
SOURCES = [path for path in TRACKED if path.suffix == ".py" and path.parts[len(ROOT.parts)] in {"pipeline", "flows"}]


def test_the_sources_are_found():
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_swallowed_error_no_unsafe_load(path):
    text = path.read_text()
    assert not re.search(
        r"\bimport pickle\b|\bjoblib\b|torch\.(save|load)\(|allow_pickle=True|weights_only=False", text
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == "Exception":
            assert not all(isinstance(statement, ast.Pass) for statement in node.body), f"line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "no module docstring"


def test_the_map_in_the_readme_names_every_room():
    readme = (ROOT / "README.md").read_text()
    rooms = {path.relative_to(ROOT).parts[1].removesuffix(".py") for path in SOURCES if path.name != "__init__.py"}
    assert {room for room in rooms if room not in readme} == set()


def test_constraints_pin_every_version_once():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    names = [line.split("==")[0] for line in lines]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[^+\s]+", line) for line in lines)
    assert len(names) == len(set(names))
