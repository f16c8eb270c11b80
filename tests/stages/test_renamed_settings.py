"""Settings under their former names are read for one version, with a warning that names the new ones."""

import json

import pytest

from flows.grid.cells import overridden
from pipeline import config
from pipeline.alarms.project import with_settings
from pipeline.base.errors import ConfigError
from pipeline.settings.calibrate import Calibrate
from tests.settings import ROOT

FORMER = {"evidence": ["density", "head"], "fusion": "density"}


def written(folder, **calibrate):
    params = config.read(ROOT / config.PARAMS)
    params["calibrate"] = {name: value for name, value in params["calibrate"].items() if name != "scores"} | calibrate
    path = folder / "params.yaml"
    path.write_text(json.dumps(params))
    return path


def test_a_file_with_former_names_loads_with_warnings(tmp_path):
    path = written(tmp_path, **FORMER)
    with pytest.warns(FutureWarning) as told:
        loaded = config.load(Calibrate, path)
    assert (loaded.scores, loaded.fusion) == (("detector", "head"), "detector")
    messages = "\n".join(str(each.message) for each in told)
    assert f"{path}: calibrate.evidence is now called calibrate.scores" in messages
    assert "density of calibrate.fusion is now called detector" in messages


def test_a_file_with_todays_names_loads_without_a_warning(tmp_path):
    assert config.load(Calibrate, written(tmp_path, scores=["head"])).scores == ("head",)


def test_both_names_at_once_are_refused(tmp_path):
    path = written(tmp_path, scores="all", evidence="all")
    with pytest.raises(ConfigError, match=r"calibrate\.evidence is the former name of calibrate\.scores, and both"):
        config.read(path)


def test_a_former_name_with_all_scores_keeps_its_value(tmp_path):
    with pytest.warns(FutureWarning, match=r"calibrate\.scores"):
        assert config.load(Calibrate, written(tmp_path, evidence="all")).scores == "all"


@pytest.mark.parametrize("change", [lambda params, new: overridden(params, new, "a grid"), with_settings])
def test_dotted_names_may_be_former_ones_too(change):
    params = config.read(ROOT / config.PARAMS)
    with pytest.warns(FutureWarning) as told:
        changed = change(params, {"calibrate.evidence": ["density"]})
    assert "calibrate.evidence is now called calibrate.scores" in str(told[0].message)
    assert config.build(Calibrate, changed, "changed").scores == ("detector",)
