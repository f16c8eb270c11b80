"""dvc.yaml says what the code does: every import a dependency, every output an out, every section a parameter."""

import ast
from functools import cache
from pathlib import Path

import grimp
import pytest
import yaml

from flows.grid import settings
from pipeline import config
from pipeline.artifacts import paths
from pipeline.settings.sections import FLOW_SECTIONS, SECTIONS

ROOT = Path(__file__).parents[2]
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = GRAPH["stages"]


# A word changed in what people look at must make no model stale. The first two write to MLflow alone. The others write
# the reports of a stage, figures among them, or the words of a message. Where the stage makes a model, these follow at
# its next run.
SHOWN_ONLY = ("pipeline.tracking", "pipeline.stages.reports.overview")
WORDS = ("pipeline.base.escaping", "pipeline.base.machine", "pipeline.base.secrets")
WHERE = ("pipeline.base.warm",)  # a stage runs, which changes nothing that it makes
SHOWN_BESIDE_A_MODEL = ("pipeline.reporting", "pipeline.stages.reports", *WORDS, *WHERE)


def _paths(entries):
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("pipeline", cache_dir=None)  # a cache may hold modules that were since moved


def _closure(stage, imports):
    """Every module that the stage imports, with the packages around them and what those import."""
    makes_a_model = any(path.is_relative_to("data/models") for path in paths.OUTPUTS[stage])
    shown = SHOWN_ONLY + (SHOWN_BESIDE_A_MODEL if makes_a_model else ())
    found, new = set(), {f"pipeline.stages.{stage}"}
    while new:
        found |= new
        parents = {module.rpartition(".")[0] for module in found} - {""}
        read = {each for module in found for each in imports.find_modules_directly_imported_by(module)}
        new = {module for module in (parents | read) - found if not _among(module, shown)}
    return {module for module in found if not _says_only(_file(module))}


def _among(module, packages):
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@cache
def _says_only(file):
    """Whether a file holds a docstring and nothing else, as most packages do, or names that are imported when asked."""
    first, *others = ast.parse((ROOT / file).read_text()).body
    lazy = any(isinstance(each, ast.FunctionDef) and each.name == "__getattr__" for each in others)
    return isinstance(first, ast.Expr) and (lazy or not others)


def _file(module):
    path = ROOT / Path(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).relative_to(ROOT)


def test_the_stages_are_those_that_artifacts_and_config_know():
    assert list(STAGES) == list(paths.OUTPUTS) == list(SECTIONS) == list(config.STAGES)
    assert list(FLOW_SECTIONS) == list(config.FLOWS)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_the_import_closure(stage, imports):
    deps = [Path(dep) for dep in _paths(STAGES[stage]["deps"])]
    uncovered = [
        file
        for file in map(_file, _closure(stage, imports))
        if not any(file == dep or file.is_relative_to(dep) for dep in deps)
    ]
    assert not uncovered


@pytest.mark.parametrize("stage", STAGES)
def test_no_dep_is_absent_or_needless(stage, imports):
    closure = {_file(name) for name in _closure(stage, imports)}
    for dep in map(Path, _paths(STAGES[stage]["deps"])):
        if dep.parts[0] == "pipeline":
            below = (ROOT / dep).rglob("*.py") if (ROOT / dep).is_dir() else [ROOT / dep]
            needless = {file.relative_to(ROOT) for file in below} - closure
            assert (ROOT / dep).exists()
            assert not {file for file in needless if not _says_only(file)}, dep


@pytest.mark.parametrize("stage", STAGES)
def test_outs_are_what_the_stage_writes(stage):
    declared = _paths(STAGES[stage].get("outs", [])) | _paths(STAGES[stage].get("metrics", []))
    assert declared == {path.as_posix() for path in paths.OUTPUTS[stage]}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_one_section_that_it_reads(stage):
    assert STAGES[stage]["params"] == [stage]
    source = (ROOT / "pipeline" / "stages" / f"{stage}.py").read_text()
    assert f'launch("{stage}", {SECTIONS[stage].__name__}, {stage})' in source


def test_a_stage_reads_only_what_earlier_ones_wrote():
    written = {paths.LABELS}  # which people write
    for stage, entry in STAGES.items():
        read = [Path(dep) for dep in _paths(entry["deps"]) if dep.startswith("data/")]
        assert all(any(dep.is_relative_to(output) for output in written) for dep in read), stage
        written |= set(paths.OUTPUTS[stage])


def test_plots_lie_in_the_reports_of_a_stage():
    for plot in GRAPH["plots"]:
        assert Path(plot).parts[:2] == ("data", "reports")
        assert Path(plot).parts[2] in STAGES


@pytest.mark.parametrize("section", FLOW_SECTIONS)
def test_no_stage_is_stale_where_a_section_of_a_flow_changes(section):
    tracked = [param for stage in STAGES.values() for param in stage["params"]]
    assert not any(str(param).split(".")[0] == section for param in tracked)
    assert not any("params.yaml" in str(entry) for stage in STAGES.values() for entry in stage["deps"])


@pytest.mark.parametrize("section", [*SECTIONS.values(), *FLOW_SECTIONS.values()])
def test_every_section_of_params_builds(section):
    assert config.load(section, ROOT / "params.yaml")


def test_the_grid_of_experiments_builds():
    assert settings.load(ROOT / "benchmark.yaml")


def test_no_stage_reads_a_preset(imports):
    assert not any("presets" in module for stage in STAGES for module in _closure(stage, imports))
    assert not any(dep.startswith(("presets", "benchmark.yaml")) for s in STAGES.values() for dep in _paths(s["deps"]))
