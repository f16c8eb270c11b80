"""Settings under their former names are read for one version, with a warning that names the new ones."""

import json

import numpy as np
import pytest
import torch

from flows.grid.cells import overridden
from pipeline import config
from pipeline.alarms.project import with_settings
from pipeline.base.errors import ConfigError
from pipeline.models.detectors.knn import KNN
from pipeline.serving.bundle_parts import detector
from pipeline.settings.alerts import Alerts
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


def test_a_former_name_deep_in_a_section_is_read_too(tmp_path):
    params = config.read(ROOT / config.PARAMS)
    del params["stage2"]["knn"]["references"]
    params["stage2"]["knn"]["max_rows"] = 70
    params["stage2"]["ensemble"]["members"]["knn"]["max_rows"] = 50
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    with pytest.warns(FutureWarning) as told:
        section = config.read(tmp_path / "params.yaml")["stage2"]
    assert section["knn"]["references"] == 70
    assert section["ensemble"]["members"]["knn"] == {"neighbours": 1, "references": 50}
    assert [str(each.message).partition(": ")[2].partition(" is now")[0] for each in told] == [
        "stage2.ensemble.members.knn.max_rows",
        "stage2.knn.max_rows",
    ]


def test_a_detector_that_was_stored_under_a_former_name_loads_without_a_warning(tmp_path):
    model = KNN(2, neighbours=1)
    model.fit(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    about = {"detector": "knn", "settings": {"neighbours": 1, "max_rows": 50}, "columns": ["a", "b"]}
    loaded = detector(tmp_path, 2, about, {name: value.numpy() for name, value in model.state_dict().items()})
    assert loaded.scores(np.zeros((1, 2), np.float32)) == 0  # its first reference; an unknown name would be refused


def test_a_file_of_an_older_project_that_names_no_form_of_addresses_keeps_whole_ones(tmp_path):
    params = config.read(ROOT / config.PARAMS)
    del params["alerts"]["sinks"]["addresses"]
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    assert config.load(Alerts, tmp_path / "params.yaml").sinks.addresses == "whole"
