"""Only the room of the calibration compares scores with its thresholds: everyone else asks which decision judges."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOME = ROOT / "pipeline" / "calibration"
NAME = "thresholds"
ORDERING = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
FILES = [
    path for room in ("pipeline", "flows") for path in sorted((ROOT / room).rglob("*.py")) if HOME not in path.parents
]


def is_named(node: ast.AST, names: frozenset[str]) -> bool:
    """Whether an expression holds a named threshold: ``x.thresholds``, ``thresholds[name]``, or a name of one."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and part.attr == NAME:
            return True
        if isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name) and part.value.id == NAME:
            return True
        if isinstance(part, ast.Name) and part.id in names:
            return True
    return False


def made_of_thresholds(tree: ast.AST) -> frozenset[str]:
    """Names that are bound to values of named thresholds, in a loop, a comprehension or an assignment."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension) and _is_of_values(node.iter):
            found.add(_last_name(node.target))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and is_named(node.value, frozenset()):
            found |= {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return frozenset(found)


def _is_of_values(node: ast.expr) -> bool:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_call and node.func.attr in {"items", "values"} and is_named(node.func.value, frozenset())


def _last_name(target: ast.expr) -> str:
    """Of ``name, threshold in x.thresholds.items()`` it is ``threshold``."""
    return [each.id for each in ast.walk(target) if isinstance(each, ast.Name)][-1]


def comparisons(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    names = made_of_thresholds(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(each, ORDERING) for each in node.ops):
            sides = (node.left, *node.comparators)
            held = [each for each in sides if is_named(each, names)]
            yield from (f"line {node.lineno}: {ast.unparse(node)}" for _ in held)


def test_nobody_compares_a_score_with_a_threshold_of_a_calibration():
    found = {path.relative_to(ROOT).as_posix(): [*comparisons(path.read_text())] for path in FILES}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "score > calibration.thresholds['p99']",
        "(bundle.calibration.whole.thresholds[name] < score).sum()",
        "for name, edge in calibration.thresholds.items():\n    flagged[name] = score >= edge",
        "[score > edge for edge in model.thresholds.values()]",
        "edge = decision.thresholds['p99']\nalarms = score > edge",
        "def counted(score, thresholds):\n    return score > thresholds['p99']",
    ],
)
def test_such_comparisons_are_found(source):
    assert len([*comparisons(source)]) == 1


@pytest.mark.parametrize(
    "source",
    [
        "threshold in calibration.thresholds",
        "benign = score <= thresholds.low",
        "for name, mask in predicted.flagged.items():\n    n = mask.sum() > 0",
        "for name in calibration.thresholds:\n    few = count[name] > 3",
    ],
)
def test_other_comparisons_are_left_alone(source):
    assert not [*comparisons(source)]
