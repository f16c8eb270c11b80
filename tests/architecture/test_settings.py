"""Each setting is declared once, has a value in params.yaml, and steers something."""

import ast
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import pytest
import yaml

from docs.tools import settings_reference
from flows.grid.settings import Benchmark
from pipeline import config
from pipeline.settings import base
from pipeline.settings.sections import FLOW_SECTIONS, SECTIONS

ROOT = Path(__file__).parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
SHAPES = {**SECTIONS, **FLOW_SECTIONS}
DECLARED = (ROOT / "pipeline" / "settings", ROOT / "flows" / "grid" / "settings.py")
# Records of what came of settings: what a calibration was fitted with, what a gate applied, what a cell of a grid has.
RESULTS = {"Calibration", "Decision", "Cell"}


def _sources():
    """The code beside the declarations, which uses few of the settings that it names."""
    files = [path for package in ("pipeline", "flows") for path in (ROOT / package).rglob("*.py")]
    return [path for path in files if not any(path.is_relative_to(place) for place in DECLARED)]


def _settings(section, prefix=""):
    """The path of each setting."""
    for name, value in section.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{name}.")


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
    names = {name for path in _sources() for node in _nodes(path) for name in _read(node)}
    methods = [node for place in DECLARED for path in (place, *place.rglob("*.py")) for node in _nodes(path)]
    return names | {node.attr for node in methods if isinstance(node, ast.Attribute)}


def _nodes(path):
    return list(ast.walk(ast.parse(path.read_text()))) if path.is_file() else []


def test_every_setting_is_read_by_something():
    names = _names()
    grid = [field.name for field in fields(Benchmark)]
    assert {path for path in [*_settings(PARAMS), *grid] if path.rpartition(".")[2] not in names} == set()


def test_every_field_of_a_shape_has_a_value_and_every_value_a_field():
    """Beside the plug-ins: what they take is their own matter, and a default of a constructor is a value."""
    declared = {name for name, shape in SHAPES.items() for name in _fields(name, shape)}
    plugins = {f"{place}.{name}" for place, known in settings_reference.PLUGINS.items() for name in known}
    leaves = {path for path in _settings(PARAMS) if not any(f"{path}.".startswith(f"{each}.") for each in plugins)}
    assert leaves - declared == {config.PRESET}
    assert declared - leaves == set()


def _fields(path, shape):
    yield path
    for name, hint in get_type_hints(shape).items():
        if name not in ("section", "plugins"):
            yield from _fields(f"{path}.{name}", hint) if is_dataclass(hint) else [f"{path}.{name}"]


@pytest.mark.parametrize("section", SHAPES)
def test_no_field_of_the_settings_has_a_default_that_params_yaml_could_contradict(section):
    """But for ``ssad.Updates``, whose users have no params.yaml."""
    found = [field for shape in _shapes(SHAPES[section]) for field in fields(shape)]
    stated = {field.name for field in found if (field.default, field.default_factory) != (MISSING, MISSING)}
    assert stated <= {"max_share", "smoothing", "undo"}


def _shapes(shape):
    yield shape
    for hint in get_type_hints(shape).values():
        if is_dataclass(hint):
            yield from _shapes(hint)


def _annotations(path):
    """(class, field -> type) of each dataclass of a file, as far as its types are those of settings."""
    known = vars(base) | {"Literal": Literal}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(each) for each in node.decorator_list):
            own = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            yield node.name, {each.target.id: _plain(ast.unparse(each.annotation), known) for each in own}


def _plain(annotation, known):
    try:
        hint = eval(annotation, {**known})
    except Exception:  # of no type that a setting has
        return annotation
    return get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def copies(files):
    """(class, shape, fields) of each dataclass that declares two fields of one shape again, with the same types."""
    shapes = [each for shape in (*SHAPES.values(), Benchmark) for each in _shapes(shape)]
    for file in files:
        for name, hints in _annotations(file):
            for shape in shapes:
                ours = get_type_hints(shape)
                same = {key for key, hint in hints.items() if key in ours and ours[key] == hint}
                if len(same) > 1 and name not in RESULTS:
                    yield name, shape.__name__, same


def test_no_dataclass_declares_the_settings_of_a_section_again():
    assert list(copies(_sources())) == []


@pytest.mark.parametrize(
    "lines",
    [
        ["rounds: int = 500", "seed: int = 0"],
        ["epochs: int", "precision: Literal['32-true', 'bf16-mixed', '16-mixed', '64-true']"],
        ["drop: tuple[str, ...] = ()", "rarity: Names = ()"],
        ["max_share: ShareAboveZero", "undo: bool"],
    ],
    ids=["bootstrap", "fit", "features", "confidence"],
)
def test_a_second_declaration_is_found(tmp_path, lines):
    file = tmp_path / "again.py"
    file.write_text("\n".join(["@dataclass(frozen=True)", "class Again:", *(f"    {line}" for line in lines)]))
    assert {name for name, _, _ in copies([file])} == {"Again"}


def test_the_reference_of_settings_is_up_to_date():
    told = "docs/reference/settings.md is out of date; run `python docs/tools/settings_reference.py`"
    assert settings_reference.PAGE.read_text() == settings_reference.page(), told


def test_every_setting_has_a_meaning():
    assert [each.name for each in settings_reference.settings() if not each.meaning] == []
