"""evaluate writes metrics.json and the page that tells it, from whatever earlier stages left."""

import json
import re
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_csv, read_json, sha256_of
from pipeline.artifacts.latents import latent_groups
from pipeline.artifacts.samples import read_samples, write_samples
from pipeline.base.samples import joined


def _metrics() -> dict[str, Any]:
    metrics = read_json(paths.METRICS)
    json.dumps(metrics, allow_nan=False)
    return metrics  # type: ignore[no-any-return]


def test_the_page_tells_metrics_json_and_is_the_same_bytes_again(prepared: Any) -> None:
    prepared.run("validate", "evaluate")
    page, metrics = paths.PAGE.read_text(), _metrics()
    shown = re.findall(r'<data value="([^"]+)" title="data/reports/metrics.json#/([^"]+)"', page)
    assert len(shown) > 100
    for value, pointer in shown:
        place: Any = metrics
        for key in pointer.split("/"):
            place = place[key]
        assert float(value) == place
    assert page.count("data:image/svg+xml;base64,") == 7
    assert sha256_of(paths.SCORES / "test_unseen.parquet") in page
    assert "Why alerts were raised" in page
    found = read_json(paths.REPORTS / "validate" / "shortcuts.json")["means"]
    assert found and all(str(escape(sentence)) in page for sentence in found.values())
    explained = read_csv(paths.REPORTS / "evaluate" / "explanations.csv")
    assert {row["attack"] for row in explained} & set(metrics["unseen"]["recall_by_attack"])
    assert explained[0]["record_id"] in page and str(escape(explained[0]["reason"])) in page
    assert all(bool(row["reason"]) == (row["account"] == "replacement") for row in explained)
    prepared.run("evaluate")
    assert (paths.PAGE.read_text(), _metrics()) == (page, metrics)


def test_the_single_feature_is_chosen_on_val_and_other_risks_are_stated(prepared: Any) -> None:
    for split in ("test_seen", "test_unseen"):
        samples = read_samples(paths.PROCESSED, split)
        write_samples(paths.PROCESSED, split, samples.map(np.zeros_like, samples.columns))
    prepared.set("evaluate.fprs", [0.2])
    prepared.set("evaluate.prevalences", [0.5, 0.25])
    prepared.run("evaluate")
    section = _metrics()["seen"]
    assert section["one_feature"]["auroc_val"] > 0.6
    assert section["one_feature"]["auroc"] == pytest.approx(0.5)
    assert section["recall_at_fpr"].keys() == {"0.2"}
    assert section["thresholds"]["p99"]["precision_at_prevalence"].keys() == {"0.5", "0.25"}
    assert "recall at own 20\N{NO-BREAK SPACE}% FPR" in paths.PAGE.read_text()


def test_no_unseen_attack(prepared: Any) -> None:
    latent = joined([*latent_groups("test_unseen")])
    stored = {room: read_samples(room, "test_unseen") for room in (paths.PROCESSED, paths.SCORES)}
    for room, samples in {**stored, paths.LATENT: latent}.items():
        write_samples(room, "test_unseen", samples.select(samples.benign))
    prepared.run("evaluate")
    metrics = _metrics()
    assert metrics["unseen"]["auroc"] is metrics["unseen"]["one_feature"]["auroc"] is None
    assert metrics["guarantee"]["n_benign"] == metrics["seen"]["n_benign"] + metrics["unseen"]["n_benign"]
    assert "No attack was held back as unseen" in paths.PAGE.read_text()
