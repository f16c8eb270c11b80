"""Each setting is declared once, has a value in params.yaml, and steers something."""

import ast
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import grimp
import pytest
import yaml

from docs.tools import settings_reference
from flows.grid.settings import Benchmark
from pipeline import config
from pipeline.base.limits import Limits
from pipeline.settings import base
from pipeline.settings.files import Files
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


def _reads(path):
    """The attributes that a file reads: ``a`` and ``b`` of ``settings.a.b``; assignments do not count."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    return {_whole(node) for node in nodes} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def _whole(node):
    """``b.*`` of ``asdict(settings.b)``, which reads all of it."""
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "asdict"
    return f"{node.args[0].attr}.*" if called and isinstance(node.args[0], ast.Attribute) else None


@cache
def _read_by(section):
    """All attributes that are read by what a section is for: the modules that its stage imports, or the flows."""
    imports = grimp.build_graph("pipeline", "flows")
    programs = {name for name in imports.modules if name.partition(".")[0] == "flows"}
    starts = {f"pipeline.stages.{section}"} if section in SECTIONS else programs
    found = {module for start in starts for module in {start, *imports.find_upstream_modules(start)}}
    files = [ROOT / _file(module) for module in found]
    methods = [node for node in _methods() if isinstance(node, ast.Attribute)]
    own = {node.attr for node in methods if isinstance(node.value, ast.Name) and node.value.id == "self"}
    return own | {name for file in files if not _declares(file) for name in _reads(file)}


def _declares(file):
    return any(file.is_relative_to(place) for place in DECLARED)


def _methods():
    """The code inside the methods of settings, such as properties: what they read of themselves is read."""
    for file in (path for place in DECLARED for path in (place, *place.rglob("*.py")) if path.is_file()):
        functions = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef))
        yield from (node for function in functions for node in ast.walk(function))


def _file(module):
    path = Path(*module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")


def unread(names):
    """The settings, by dotted names, of which a part is read nowhere in what their section is for."""
    return {name for name in names if not _is_read(*name.split("."))}


def _is_read(section, *path):
    found, (*around, last) = _read_by(section), path or ("",)
    return not path or ({*around} <= found and (last in found or f"{''.join(around[-1:])}.*" in found))


def test_every_setting_is_read_by_its_stage():
    """Those of a plug-in are the parameters of its constructor, which refuses others."""
    declared = {name for section, shape in SHAPES.items() for name in _fields(section, shape)}
    assert unread(declared) == set()


@pytest.mark.parametrize(
    "name", ["ingest.latent_map", "calibrate.prevalences", "evaluate.contamination.share", "stage1.warmup_epochs"]
)
def test_a_setting_that_another_stage_reads_is_found_to_be_idle(name):
    assert unread({name}) == {name}


def test_every_setting_of_the_grid_is_read():
    names = {name for path in _sources() for name in _reads(path)}
    assert {field.name for field in fields(Benchmark)} - names == set()


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
    """But for ``ssad.Updates``, whose users have no params.yaml, and for what an older project lacks."""
    found = [field for shape in _shapes(SHAPES[section]) for field in fields(shape)]
    stated = {field.name for field in found if (field.default, field.default_factory) != (MISSING, MISSING)}
    assert stated <= {"max_share", "smoothing", "undo", "addresses"}


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


def test_an_older_project_without_the_limits_of_files_has_those_that_are_shipped():
    shipped = config.load(Files, ROOT / config.PARAMS)
    without = {name: value for name, value in PARAMS.items() if name != "files"}
    assert config.build(Files, without, "params.yaml") == shipped
    assert shipped.limits() == Limits()
