"""Attacks hidden among the benign train rows: as many as asked for, in no test, known by their true name."""

import json
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples
from pipeline.base.errors import ConfigError, SplitError
from pipeline.base.samples import Samples
from pipeline.config import load
from pipeline.preprocessing import splits
from pipeline.settings.sections import SECTIONS
from pipeline.stages.reports.report import Report


def stored() -> dict[str, Samples]:
    return {name: read_samples(paths.PROCESSED, name) for name in splits.SPLITS}


def hidden(samples: Samples) -> Any:
    return samples.benign & (samples.attack != "benign")


@pytest.fixture
def contaminated(project: Any) -> Any:
    """A project with clean splits behind it, that asks for one hidden record in twenty from now on."""
    project.run("ingest", "preprocess")
    project.set("preprocess.contamination.share", 0.05)
    return project


def test_no_record_is_hidden_unless_asked_for(project: Any) -> None:
    project.run("ingest", "preprocess")
    assert not any(hidden(part).any() for part in stored().values())


def test_hidden_records_look_benign_and_keep_their_name(contaminated: Any) -> None:
    clean = stored()
    contaminated.run("preprocess")
    parts = stored()
    train = parts["train"]
    mask = hidden(train)
    assert mask.sum() / train.benign.sum() == pytest.approx(0.05, abs=0.005)
    assert set(train.confidence[mask]) == {1.0}
    labelled = clean["train"]
    assert set(train.record_id[mask]) <= set(labelled.record_id[~labelled.benign])
    assert set(train.record_id[~mask]) <= set(labelled.record_id)
    for name in ("val", "calibration", "test_seen", "test_unseen"):
        assert np.array_equal(parts[name].record_id, clean[name].record_id)
        assert np.array_equal(parts[name].y, clean[name].y)
    told = json.loads((paths.REPORTS / "preprocess" / "splits.json").read_text())
    assert sum(told["hidden"].values()) == mask.sum()
    assert set(told["hidden"]) == set(train.attack[mask])


def test_the_figure_says_that_attacks_are_hidden(contaminated: Any) -> None:
    contaminated.report = Report
    contaminated.run("preprocess")
    assert "labelled benign" in (paths.REPORTS / "preprocess" / "splits.svg").read_text()


def test_balancing_counts_hidden_records_as_benign(contaminated: Any) -> None:
    contaminated.set("preprocess.contamination.share", 0.2)
    contaminated.run("preprocess")
    train = stored()["train"]
    balanced = train.select(train.balanced)
    largest = max(np.unique(balanced.attack[~balanced.benign], return_counts=True)[1])
    assert balanced.benign.sum() == largest
    assert 0 < hidden(balanced).sum() < hidden(train).sum()
    assert (~balanced.benign).sum() == (~train.benign).sum()


def test_an_unseen_attack_leaves_its_test(contaminated: Any) -> None:
    clean = stored()["test_unseen"]
    contaminated.set("preprocess.contamination.attacks", ["bot"])
    contaminated.set("preprocess.contamination.share", 0.01)
    contaminated.run("preprocess")
    parts = stored()
    train, test = parts["train"], parts["test_unseen"]
    assert set(train.attack[hidden(train)]) == {"bot"}
    assert set(train.record_id[hidden(train)]) <= set(clean.record_id)
    assert not set(train.record_id) & set(test.record_id)
    contents = {row.tobytes() for row in train.x[hidden(train)]}
    assert not any(row.tobytes() in contents for name, part in parts.items() if name != "train" for row in part.x)


def test_a_copy_of_a_hidden_record_takes_no_confidence_from_it(contaminated: Any) -> None:
    def copy(columns: dict[str, list[Any]]) -> None:
        scans = [row for row, attack in enumerate(columns["attack"]) if attack == "port_scan"]
        features = list(columns)[list(columns).index("destination_port") :]
        for name in features:
            for row in scans:
                columns[name][row] = columns[name][scans[0]]

    contaminated.doctor(copy)
    contaminated.set("preprocess.duplicates", "group")
    contaminated.set("preprocess.contamination.share", 0.01)
    contaminated.set("preprocess.contamination.attacks", ["port_scan"])
    for seed in range(20):  # until the one content of all scans falls in train
        contaminated.set("preprocess.seed", seed)
        try:
            contaminated.run("preprocess")
            break
        except SplitError:
            continue
    train = stored()["train"]
    assert hidden(train).any()
    assert set(train.confidence[hidden(train)]) == {1.0}
    assert "port_scan" not in train.attack[~train.benign]


def test_contamination_without_such_attacks(contaminated: Any) -> None:
    contaminated.set("preprocess.contamination.attacks", ["neptune"])
    message = contaminated.refusal("preprocess", SplitError)
    assert "preprocess.contamination: there are no attacks of neptune to hide in train" in message
    assert "preprocess.contamination.attacks" in message
    contaminated.set("preprocess.contamination.attacks", ["port_scan"])
    contaminated.set("preprocess.contamination.share", 0.9)
    message = contaminated.refusal("preprocess", SplitError)
    assert "would hide" in message
    assert "at most 0." in message
    assert "is possible" in message


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("preprocess.contamination.share", 1.0, "less than 1"),
        ("preprocess.contamination.share", -0.1, "greater than or equal to 0"),
        ("preprocess.contamination.attacks", "bot", "tuple"),
        ("preprocess.contamination.shares", 0.1, "did you mean 'share'?"),
    ],
)
def test_a_setting_out_of_its_limits(project: Any, name: str, value: object, allowed: str) -> None:
    project.set(name, value)
    with pytest.raises(ConfigError) as caught:
        load(SECTIONS["preprocess"])
    assert name in str(caught.value)
    assert allowed in str(caught.value)
