"""A benchmark measures the settings that are shipped or published, not those of a constructor."""

import argparse
import sys

import numpy as np
import pytest
import torch
import yaml

from benchmarks import adbench, kdd99, nslkdd, nslkdd_rows, nslkdd_tables, published
from pipeline.base.registry import build
from pipeline.settings.base import plain
from tests.settings import fit_with


def test_adbench_measures_the_neighbours_that_params_yaml_ships(monkeypatch):
    built = []
    monkeypatch.setattr(adbench, "build", lambda *names, **given: built.append(given) or build(*names, **given))
    y = (np.arange(100) % 5 == 0).astype(np.int64)
    data = adbench.split(np.random.default_rng(0).standard_normal((100, 3)), y, seed=0, rows=1000)
    adbench.measure("knn", "one_class", data, 0, fit_with(device="cpu"), updated=False)
    shipped = yaml.safe_load((published.ROOT / "params.yaml").read_text())["stage2"]["knn"]
    assert shipped.items() <= built[0].items()


@pytest.mark.parametrize("kind", nslkdd_tables.KINDS)
def test_shipped_settings_differ_from_params_yaml_in_the_detector_alone(kind):
    given = yaml.safe_load((published.ROOT / "params.yaml").read_text())["stage2"]
    taken = plain(published.shipped(kind))
    assert taken["detector"] == kind
    assert taken["confidence"].items() >= {"max_share": given["confidence"]["max_share"], "undo": True}.items()
    assert taken["fit"] == given["fit"]
    assert taken[kind] == given[kind]


@pytest.mark.parametrize("kind", nslkdd_tables.KINDS)
def test_nslkdd_takes_the_preset_or_what_is_shipped_and_one_change(kind):
    changes = {"stage2.fit.epochs": 7}
    of_preset = nslkdd.settings_of(kind, argparse.Namespace(shipped=False, changes=changes))
    of_params = nslkdd.settings_of(kind, argparse.Namespace(shipped=True, changes=changes))
    assert (of_preset.fit.epochs, of_params.fit.epochs) == (7, 7)
    assert of_preset.confidence.undo is False
    assert of_params.confidence.undo is True


def test_a_result_names_the_epoch_kept_and_the_updates_it_saw():
    random = np.random.default_rng(0)
    x, y = random.random((400, 4)).astype(np.float32), (np.arange(400) % 10 == 0).astype(np.int64)
    changes = {"stage2.fit.epochs": 6, "stage2.fit.batch_size": 64}
    with torch.random.fork_rng():
        result = nslkdd.trained(published.stage2("radon", changes), adbench.Split(x, y, x, y), 0)
        plain = nslkdd.trained(published.stage2("radon", changes | nslkdd.NO_UPDATES), adbench.Split(x, y, x, y), 0)
    assert (result.kept, result.updates) == ((5, 6), (1, 0))
    assert (plain.kept, plain.updates) == ((5, 6), None)
    assert nslkdd_tables.learnt([result, result])[:4] == ["5", "6", "1", "0"]


def test_the_test_rows_of_kdd99_are_benign_or_attacks_that_training_has_not():
    known = nslkdd_rows.Records({}, np.array([0, 1]), np.array(["benign", "smurf"]))
    other = nslkdd_rows.Records({}, np.array([1, 0, 1, 0]), np.array(["smurf", "benign", "mscan", "benign"]))
    assert kdd99.unseen(known, other).tolist() == [1, 2, 3]


def test_a_few_rows_make_most_of_the_stand_in():
    drawn = kdd99.copies(np.arange(1000), 5000, np.random.default_rng(0))
    counts = np.sort(np.unique(drawn, return_counts=True)[1])[::-1]
    assert counts[:50].sum() > 2500


def test_kdd99_says_which_files_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kdd99", str(tmp_path)])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # a command sets it for good
    with pytest.raises(SystemExit, match=r"holds none of kddcup.data_10_percent.gz.*--stand-in"):
        kdd99.main()
