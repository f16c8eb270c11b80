"""A preset is one word: it holds all settings of its system, and writes them into params.yaml and nothing else."""

import shutil
from pathlib import Path

import pytest

from flows import preset
from flows.grid import settings
from flows.grid.cells import OF_A_DESIGN, Grid
from flows.grid.experiments import git
from flows.runtime import presets
from pipeline import config
from pipeline.base.errors import ConfigError
from pipeline.base.registry import build
from pipeline.calibration.confidence import CONFIDENCES
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.models.training.plan import updates_of
from pipeline.settings.ingest import Ingest
from pipeline.settings.sections import SECTIONS
from tests.test_params_layout import moved

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "params.yaml").read_text()
NAMES = presets.names(ROOT / "presets")
# Of a fit: how and where it runs, which no system fixes.
FREE = {"seed", "device", "devices", "nodes", "strategy", "precision"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with the settings that are shipped, and the presets."""
    (tmp_path / "params.yaml").write_text(SHIPPED)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "as shipped")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def held(name):
    return presets.read(name, ROOT / "presets")


def test_there_are_the_three_published_systems():
    assert set(NAMES) == {"grand", "latent_sculpting", "radon"}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_changes_the_lines_of_its_settings_alone_and_shipped_brings_them_back(project, name):
    changed = preset.apply(name, project)
    text = config.PARAMS.read_text()
    assert moved(SHIPPED, text) <= set(changed) == {"preset", *changed}
    params = config.read()
    assert all(presets.at(params, key) == value for key, value in held(name).items())
    assert presets.recorded(params) == name
    assert preset.apply(name, project) == {}
    assert set(preset.apply(preset.SHIPPED, project)) == set(changed)
    assert config.PARAMS.read_text() == SHIPPED


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_takes_the_settings_of_a_preset(project, name):
    preset.apply(name, project)
    stages = [config.load(section) for section in SECTIONS.values()]
    stage1, stage2, calibrate = stages[3:6]
    loss = build(LOSSES, stage1.loss, **stage1.settings(stage1.loss, {*ENCODERS, *LOSSES}))
    build(ENCODERS, stage1.encoder, features=71, loss=loss, **stage1.settings(stage1.encoder, {*ENCODERS, *LOSSES}))
    model = build(DETECTORS, stage2.detector, features=32, **stage2.settings(stage2.detector, DETECTORS))
    updates_of(model, stage2.confidence, "stage2")
    build(THRESHOLDS, calibrate.thresholds, **calibrate.settings(calibrate.thresholds, THRESHOLDS))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_holds_every_setting_of_what_it_chooses(name):
    params = config.parse(SHIPPED.encode(), "params.yaml")
    wanted = {f"preprocess.features.{key}" for key in params["preprocess"]["features"]}
    settings = held(name)
    trained = ["stage2"] if settings["stage1.encoder"] == "identity" else ["stage1", "stage2"]
    chosen = {"stage2": settings["stage2.detector"], "stage1": settings["stage1.encoder"]}
    for stage in trained:
        wanted |= {f"{stage}.fit.{key}" for key in params[stage]["fit"] if key not in FREE}
        wanted |= {f"{stage}.{chosen[stage]}.{key}" for key in params[stage][chosen[stage]]}
        if settings[f"{stage}.confidence.updates"] != "never":
            plugin = {*THRESHOLDS, *CONFIDENCES}
            wanted |= {f"{stage}.confidence.{key}" for key in params[stage]["confidence"] if key not in plugin}
    wanted |= {f"calibrate.{key}" for key in ("fusion", "drawn_from", "scores", "group", "thresholds")}
    optional = {  # which the settings above make idle
        "latent_sculpting": {f"stage2.maf.{key}" for key in ("unknown", "distance")}
        | {"preprocess.features.categorical"}
        | {f"stage{n}.fit.{key}" for n in (1, 2) for key in ("plateau_patience", "plateau_of", "least_learning_rate")},
        "radon": {f"stage2.fit.{key}" for key in ("plateau_patience", "plateau_of", "least_learning_rate")},
        "grand": set(),
    }
    assert wanted - optional[name] <= set(settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_names_its_source_and_its_deviations(name):
    head = (ROOT / "presets" / f"{name}.yaml").read_text().partition("\n\n")[0]
    assert "20" in head and "Deviations, each with its reason:" in head
    assert all(line.startswith("#") and len(line) <= 120 for line in head.splitlines())


def test_one_preset_after_another_leaves_nothing_of_the_first(project):
    preset.apply("latent_sculpting", project)
    preset.apply("radon", project)
    after_both = config.PARAMS.read_text()
    preset.apply(preset.SHIPPED, project)
    preset.apply("radon", project)
    assert config.PARAMS.read_text() == after_both


def test_what_no_preset_holds_stays(project):
    config.PARAMS.write_text(SHIPPED.replace("  path: data/raw ", "  path: elsewhere"))
    preset.apply("radon", project)
    assert config.load(Ingest).path == "elsewhere"


def test_settings_that_moved_since_are_told(project):
    preset.apply("radon", project)
    config.PARAMS.write_text(config.PARAMS.read_text().replace("    epochs: 100\n", "    epochs: 5\n"))
    assert presets.recorded(config.read()) == "radon, changed: stage2.fit.epochs"
    assert presets.recorded(config.parse(SHIPPED.encode(), "")) == "none"


def test_a_misspelt_preset_is_refused_with_the_near_miss_and_changes_nothing(project, capsys):
    assert preset.main(["radn"]) == 1
    assert "'radn' is not known (did you mean 'radon'?)" in capsys.readouterr().err
    assert config.PARAMS.read_text() == SHIPPED
    config.PARAMS.write_text(SHIPPED.replace("preset: none ", "preset: radn "))
    with pytest.raises(ConfigError, match="'radn' is not known"):
        presets.recorded(config.read())


def test_a_preset_that_a_stage_would_refuse_leaves_the_file_as_it_was(project):
    Path("presets/wrong.yaml").write_text("# Wrong\nstage2: {fit: {epochs: 0}}\n")
    with pytest.raises(ConfigError, match=r"stage2.fit.epochs"):
        preset.apply("wrong", project)
    Path("presets/wrong.yaml").write_text("# Wrong\nstage2: {fit: {epoch: 1}}\n")
    with pytest.raises(ConfigError, match=r"sets stage2.fit.epoch, which the file lacks"):
        preset.apply("wrong", project)
    assert config.PARAMS.read_text() == SHIPPED


def test_the_command_says_what_it_changed_and_lists_what_there_is(project, capsys):
    assert preset.main(["grand"]) == 0
    said = capsys.readouterr().out
    assert "  stage2.detector: ensemble -> grand\n" in said and "  stage2.grand.margin: 2.0 -> 10.0" in said
    assert preset.main([]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith("params.yaml follows: grand\n") and "radon             RADON: " in listed


@pytest.mark.parametrize(
    ("configuration", "name"),
    [("published", "latent_sculpting"), ("radon", "radon"), ("grand", "grand")],
)
def test_the_benchmark_measures_the_settings_of_the_preset(configuration, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    grid = Grid.of(config.read(), settings.load())
    params = grid.settled("corrected", configuration)
    system = {key: value for key, value in held(name).items() if not key.startswith(OF_A_DESIGN)}
    assert all(presets.at(params, key) == value for key, value in system.items())
    assert params["preset"] == name
    assert params["preprocess"]["shares"] == grid.settled("corrected", "defaults")["preprocess"]["shares"]
