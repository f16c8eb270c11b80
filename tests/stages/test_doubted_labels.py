"""Benign labels among attacks of the same hosts are listed and trusted less; false alarms are stated without them."""

import csv
from datetime import datetime, timedelta

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.confidence import read_confidence
from pipeline.artifacts.files import read_json
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table
from pipeline.validation.doubts import RULE

NOON = datetime(2017, 7, 7, 12)
REPORT = paths.REPORTS / "validate"


def between_attackers(columns, wrong):
    """Attacks go between two hosts; so do the benign records at the rows ``wrong``. Others have hosts of their own."""
    for row, attack in enumerate(columns["attack"]):
        ends = ("10.0.0.1", "10.0.0.2") if attack != "benign" or row in wrong else (f"10.1.{row // 250}.9", "10.0.0.3")
        columns["src_ip"][row], columns["dst_ip"][row] = ends if row % 2 else ends[::-1]
        columns["timestamp"][row] = NOON + timedelta(seconds=row % 600)


def confidence():
    ids, trust = read_confidence(REPORT / "confidence_epoch_0.csv")
    return dict(zip(ids.tolist(), trust.tolist(), strict=True))


def models():
    """All that is fitted, as bytes."""
    return {path.name: path.read_bytes() for path in sorted((paths.DATA / "models").glob("*.safetensors"))}


@pytest.fixture
def told(prepared, capsys):
    """The project after validate, with the ids of five doubted benign test records."""
    tests = [read_samples(paths.SCORES, name) for name in ("test_seen", "test_unseen")]
    ids = np.concatenate([samples.record_id[samples.benign] for samples in tests])[:5]
    wrong = {*np.flatnonzero(np.isin(read_table(paths.RECORDS).column("record_id").to_numpy(), ids)).tolist()}
    prepared.run("validate")
    before = confidence()
    prepared.doctor(lambda columns: between_attackers(columns, wrong))
    capsys.readouterr()
    prepared.run("validate")
    return prepared, ids, before, capsys.readouterr().out


def test_they_are_listed_with_the_reason_and_trusted_less(told):
    _, ids, before, said = told
    assert f"Benign labels that are doubted: 5 ({RULE})." in said
    listed = read_table(paths.DOUBTED)
    assert {*listed.column("record_id").to_pylist()} == {*ids.tolist()}
    with paths.DOUBTED.with_suffix(".csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {int(row["record_id"], 16) for row in rows} == {*ids.tolist()}
    assert all("attack records, 5 benign; benign at any time: 5" in row["reason"] for row in rows)
    after = confidence()
    assert {number for number in after if after[number] != before[number]} <= {*ids.tolist()}
    assert all(after[number] <= min(before[number], 0.5) for number in ids.tolist())
    assert RULE in (REPORT / "confidence_epoch_0.csv").read_text()
    assert read_json(REPORT / "doubted_labels.json")["doubted"] == 5


def test_false_alarms_are_stated_with_and_without_them(told):
    project, ids, _, _ = told
    project.run("evaluate")
    stated = read_json(paths.METRICS)["guarantee"]
    parts = stated["doubted_labels"]
    assert (parts["doubted"]["n"], parts["others"]["n"]) == (len(ids), stated["n_benign"] - len(ids))
    for name, level in stated["levels"].items():
        alarms = {part: round(at["levels"][name]["fpr"] * at["n"]) for part, at in parts.items()}
        assert sum(alarms.values()) == round(level["fpr"] * stated["n_benign"])
        assert parts["others"]["levels"][name]["nominal"] == level["nominal"]
        assert parts["doubted"]["levels"][name]["nominal"] is None  # nothing is promised of them
    page = " ".join(paths.PAGE.read_text().split())
    assert "Without the labels that are doubted" in page
    assert "went between two hosts when most of their records were attacks" in page


def test_nothing_that_is_fitted_changes(told):
    project, *_ = told
    before = models()
    project.run("preprocess", "stage1", "stage2", "calibrate")
    assert models() == before


def test_without_addresses_nothing_is_doubted_and_nothing_is_stated(prepared, capsys):
    prepared.run("validate")
    assert "Benign labels are not compared with the attacks around them" in capsys.readouterr().out
    assert read_table(paths.DOUBTED).num_rows == 0
    prepared.run("evaluate")
    assert "doubted_labels" not in read_json(paths.METRICS)["guarantee"]
    assert "labels that are doubted" not in paths.PAGE.read_text()
