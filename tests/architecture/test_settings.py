"""Each setting of params.yaml steers something: a name that no code reads is a promise that nobody keeps."""

import ast
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SHAPE = ROOT / "pipeline" / "config.py"  # declares every setting, and uses few
NAMED_BY_USERS = {"benchmark.designs", "benchmark.configurations"}
UNREAD = {"evaluate.latent_map_rows"}  # steers nothing yet


def _settings(section, prefix=""):
    """The path of each setting; what users name themselves is left out."""
    for name, value in section.items():
        path = f"{prefix}{name}"
        yield path
        if isinstance(value, dict) and path not in NAMED_BY_USERS:
            yield from _settings(value, f"{path}.")


def _read(node):
    """The names that a piece of code may read a setting by: attributes, parameters, fields, keys."""
    if isinstance(node, ast.Attribute):
        return {node.attr}
    if isinstance(node, ast.arg | ast.keyword):
        return {node.arg}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def _names():
    files = [path for package in ("pipeline", "flows") for path in (ROOT / package).rglob("*.py") if path != SHAPE]
    trees = [ast.parse(path.read_text()) for path in files]
    return {name for tree in trees for node in ast.walk(tree) for name in _read(node)}


def test_every_setting_is_read_by_something():
    names = _names()
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert {path for path in _settings(settings) if path.rpartition(".")[2] not in names} - UNREAD == set()
