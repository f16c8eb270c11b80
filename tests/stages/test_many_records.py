"""Of many records the models and thresholds are fitted on a sample; every test record is judged."""

from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_bytes
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.cross_conformal import OUT_OF_FOLD
from pipeline.datasets.labels import family
from pipeline.stages import encoders
from pipeline.stages.taken import FITTED, take

MOST = 200


@pytest.fixture
def sampled(prepared: Any) -> Any:
    prepared.set("stage2.calibration.kind", "cross")
    prepared.set("stage2.detector", "knn")
    prepared.set("stage2.knn.neighbours", 3)  # a record that was fitted is its own first
    prepared.set("stage2.head", "boosting")
    prepared.set("calibrate.fusion", "fisher")
    prepared.set("calibrate.scores", ["detector", "head"])
    prepared.set("stage2.max_rows", MOST)
    prepared.run("stage2", "calibrate")
    return prepared


def test_models_and_thresholds_are_fitted_on_the_sample(sampled: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(read_model(paths.DETECTOR)[1]["fold"]) == MOST
    assert Calibration.load(*read_model(paths.THRESHOLDS)).reference.size == MOST
    assert len(read_samples(paths.SCORES, OUT_OF_FOLD)) == MOST
    benign = [read_samples(paths.SCORES, split, columns=()).benign.sum() for split in FITTED]
    assert sum(benign) == MOST
    assert all(benign)
    sampled.run("stage2")
    said = capsys.readouterr().out
    assert "Models and thresholds are fitted on samples, drawn by the ids of records" in said


def test_every_test_record_is_judged_and_explained(sampled: Any) -> None:
    for split in ("test_seen", "test_unseen"):
        scores, features = (read_samples(room, split, columns=()) for room in (paths.SCORES, paths.PROCESSED))
        np.testing.assert_array_equal(scores.record_id, features.record_id)
    sampled.run("validate", "evaluate")
    rows = (paths.REPORTS / "evaluate" / "explanations.csv").read_text().splitlines()
    assert len(rows) > 1
    fitted = {f"{number:016x}" for number in read_samples(paths.SCORES, OUT_OF_FOLD).record_id.tolist()}
    at = rows[0].split(",").index("neighbours")
    neighbours = {name for row in rows[1:] for name in row.split(",")[at].split()}
    assert neighbours
    assert neighbours <= fitted


def test_rare_attacks_stay_whole_and_the_draw_is_the_same_again(prepared: Any) -> None:
    taken, again = take(MOST, together=True), take(MOST, together=True)
    assert all(np.array_equal(taken[split], again[split]) for split in FITTED)
    named = {split: read_samples(paths.LATENT, split, columns=()) for split in FITTED}
    names = [family(name) for each in named.values() for name in each.attack[~each.benign]]
    kept = [family(name) for split, each in named.items() for name in each.attack[taken[split] & ~each.benign]]
    counts, left = ({name: each.count(name) for name in set(names)} for each in (names, kept))
    assert max(left.values()) < max(counts.values())
    assert all(left[name] in (counts[name], max(left.values())) for name in counts)


def test_a_sample_of_all_is_all(prepared: Any) -> None:
    prepared.set("stage2.max_rows", 10_000)
    prepared.run("stage2")
    before = [read_bytes(path) for path in sorted(paths.SCORES.iterdir())]
    prepared.set("stage2.max_rows", 500_000)
    prepared.run("stage2")
    assert [read_bytes(path) for path in sorted(paths.SCORES.iterdir())] == before
    assert all(rows.all() for rows in take(10_000, together=False).values())


def test_attacks_of_train_have_no_scores(prepared: Any) -> None:
    assert read_samples(paths.SCORES, "train").benign.all()
    assert not read_samples(paths.SCORES, "val").benign.all()


def test_centroids_of_an_encoder_that_is_not_trained_come_from_a_sample(
    prepared: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(encoders, "CENTRED", 50)
    before = read_model(paths.ENCODER)[1]["centroid_benign"]
    prepared.run("stage1")
    assert "the centroids come from 50 of" in capsys.readouterr().out
    assert not np.array_equal(read_model(paths.ENCODER)[1]["centroid_benign"], before)
