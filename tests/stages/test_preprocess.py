"""Preprocess: records -> features and five splits, the transform fitted on train rows only."""

import json
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ConfigError
from pipeline.base.samples import Samples
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.preprocessing import splits
from pipeline.preprocessing.features import Features

UNSEEN = {"bot", "infiltration", "dos_slowloris", "dos_slowhttptest"}


def stored() -> dict[str, Samples]:
    return {name: read_samples(paths.PROCESSED, name) for name in splits.SPLITS}


def transform() -> Features:
    return Features.load(*read_model(paths.FEATURES))


def left_out() -> int:
    """Records in no split; here those of seen attacks that share their content with an unseen one."""
    told = json.loads((paths.REPORTS / "preprocess" / "splits.json").read_text())["left_out"]
    assert not set(told) & (UNSEEN | {"benign"})
    return sum(told.values())


@pytest.fixture
def ingested(project: Any) -> Any:
    project.run("ingest")
    return project


def test_every_record_stands_in_one_split_as_who_it_was(ingested: Any) -> None:
    ingested.run("preprocess")
    records = read_table(paths.RECORDS)
    known = {row["record_id"]: row for row in records.select(["record_id", "y", "attack"]).to_pylist()}
    parts = stored()
    ids = np.concatenate([part.record_id for part in parts.values()])
    assert len(set(ids.tolist())) == len(ids) == 600 - left_out()
    assert set(ids.tolist()) <= set(known)
    for part in parts.values():
        for record_id, y, attack in zip(part.record_id.tolist(), part.y.tolist(), part.attack, strict=True):
            assert known[record_id] == {"record_id": record_id, "y": y, "attack": attack}


def test_attacks_stand_where_they_may_and_the_rest_is_as_promised(ingested: Any) -> None:
    ingested.run("preprocess")
    parts = stored()
    assert parts["calibration"].benign.all()
    assert set(parts["test_unseen"].attack) == UNSEEN | {"benign"}
    for name in ("train", "val", "test_seen"):
        assert not set(parts[name].attack) & UNSEEN
        assert not parts[name].benign.all()
    assert not any(part.balanced.any() for name, part in parts.items() if name != "train")
    balanced = parts["train"].select(parts["train"].balanced)
    largest = max(np.unique(balanced.attack[~balanced.benign], return_counts=True)[1])
    assert balanced.benign.sum() == largest
    assert (~balanced.benign).sum() == (~parts["train"].benign).sum()


def test_stored_features_are_those_of_the_stored_transform(ingested: Any) -> None:
    ingested.run("preprocess")
    features, records = transform(), read_table(paths.RECORDS)
    mapped = features.map({name: records[name].to_numpy() for name in FEATURE_NAMES})
    x = np.stack([mapped[name] for name in features.columns], axis=1)
    place = {record_id: row for row, record_id in enumerate(records["record_id"].to_pylist())}
    for part in stored().values():
        assert part.columns == features.columns
        assert np.array_equal(part.x, x[[place[record_id] for record_id in part.record_id.tolist()]])
    train = stored()["train"].x
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-3)


def test_the_transform_is_fitted_on_the_train_rows_alone(ingested: Any) -> None:
    """Stored is exactly what a fit on the train rows gives, and not what one on all rows would."""
    ingested.run("preprocess")
    train = set(stored()["train"].record_id.tolist())
    records = read_table(paths.RECORDS)
    rows = np.array([each in train for each in records["record_id"].to_pylist()])
    columns = {name: records[name].to_numpy() for name in FEATURE_NAMES}
    recipe = transform().recipe
    expected = Features.fit([{name: values[rows] for name, values in columns.items()}], int(rows.sum()), recipe)
    everything = Features.fit([columns], len(rows), recipe)
    assert transform().state()[0] == expected.state()[0]
    for name in ("mean", "scale"):
        stored_values = transform().state()[1][name]
        assert np.array_equal(stored_values, expected.state()[1][name])
        assert not np.array_equal(stored_values, everything.state()[1][name])


def test_copies_share_a_split_or_are_dropped_or_kept(ingested: Any) -> None:
    def copy(columns: dict[str, list[Any]]) -> None:
        for name in FEATURE_NAMES:
            for row in range(0, 60, 2):
                columns[name][row + 1] = columns[name][row]

    ingested.doctor(copy)
    sizes = {}
    for duplicates in ("group", "drop", "keep"):
        ingested.set("preprocess.duplicates", duplicates)
        ingested.run("preprocess")
        parts = stored()
        sizes[duplicates] = sum(map(len, parts.values()))
        if duplicates != "drop":
            sizes[duplicates] += left_out()
        if duplicates != "keep":
            seen: dict[bytes, str] = {}
            for name, part in parts.items():
                for row in part.x:
                    assert seen.setdefault(row.tobytes(), name) == name
    assert sizes["keep"] == sizes["group"] == 600
    assert sizes["drop"] < 600


def test_the_same_records_and_seed_give_the_same_files(ingested: Any) -> None:
    ingested.run("preprocess")
    first = {path.name: path.read_bytes() for path in paths.PROCESSED.iterdir()}
    ingested.run("preprocess")
    assert {path.name: path.read_bytes() for path in paths.PROCESSED.iterdir()} == first
    ingested.set("preprocess.seed", 1)
    ingested.run("preprocess")
    assert {path.name: path.read_bytes() for path in paths.PROCESSED.iterdir()} != first


def attempt(columns: dict[str, list[Any]]) -> None:
    for row, attack in enumerate(columns["attack"]):
        columns["attempted"][row] = attack == "dos_hulk"


@pytest.mark.parametrize(
    ("choice", "stay", "are_attacks"), [("exclude", False, False), ("benign", True, False), ("attack", True, True)]
)
def test_attempted_attacks(ingested: Any, choice: str, stay: bool, are_attacks: bool) -> None:
    ingested.doctor(attempt)
    ingested.set("preprocess.attempted", choice)
    ingested.run("preprocess")
    parts = stored().values()
    attacks = [attack for part in parts for attack in part.attack]
    assert ("dos_hulk" in attacks) == are_attacks
    hulks = read_table(paths.RECORDS)["attack"].to_pylist().count("dos_hulk")
    assert len(attacks) == 600 - (left_out() if stay else hulks)
    assert all((part.y == 0).tolist() == (part.attack == "benign").tolist() for part in parts)


def test_confidence_says_what_the_labels_say_and_nothing_where_they_disagree(ingested: Any) -> None:
    def contradict(columns: dict[str, list[Any]]) -> None:
        benign, attack = columns["y"].index(0), columns["y"].index(1)
        for name in FEATURE_NAMES:
            columns[name][attack] = columns[name][benign]

    ingested.doctor(contradict)
    ingested.run("preprocess")
    for part in stored().values():
        assert set(part.confidence[part.y == 0]) <= {1.0, 0.0}
        assert set(part.confidence[part.y == 1]) <= {-1.0, 0.0}
    assert sum(int((part.confidence == 0).sum()) for part in stored().values()) >= 2
    rows = (paths.REPORTS / "preprocess" / "confidence_epoch_0.csv").read_text().splitlines()
    assert rows[0] == '"record_id","confidence"'
    assert len(rows) == 601 - left_out()


def test_reports_count_every_record(ingested: Any) -> None:
    ingested.run("preprocess")
    told = json.loads((paths.REPORTS / "preprocess" / "splits.json").read_text())
    for name, part in stored().items():
        names, counts = np.unique(part.attack.astype(str), return_counts=True)
        assert told[name] == dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert tuple(told["columns"]) == transform().columns
    assert tuple(told["dropped"]) == transform().dropped
    for figure in ("splits.svg", "feature_spread.svg"):
        assert (paths.REPORTS / "preprocess" / figure).exists()


@pytest.mark.parametrize(
    ("fill", "scaling", "clip"),
    [("median", "signed_log", 5.0), ("indicator", "quantile", None), ("zero", "none", None)],
)
def test_every_recipe_gives_finite_features(ingested: Any, fill: str, scaling: str, clip: float | None) -> None:
    for name, value in (("fill", fill), ("scaling", scaling), ("clip", clip)):
        ingested.set(f"preprocess.features.{name}", value)
    ingested.run("preprocess")
    for part in stored().values():
        assert np.isfinite(part.x).all()
        assert clip is None or np.abs(part.x).max() <= clip


def test_days_that_are_kept_for_the_test_are_in_no_other_split(ingested: Any) -> None:
    days = {"preprocess.test_days": ["thursday", "friday"], "preprocess.unseen": ["bot", "infiltration", "port_scan"]}
    for key, value in days.items():
        ingested.set(key, value)
    ingested.run("preprocess")
    records = read_table(paths.RECORDS).select(["record_id", "day"]).to_pylist()
    day = {row["record_id"]: row["day"] for row in records}
    for name, part in stored().items():
        benign = {day[each] for each in part.record_id[part.benign].tolist()}
        assert benign <= {"thursday", "friday"} if name == "test_unseen" else not benign & {"thursday", "friday"}


def test_records_without_days_cannot_be_split_by_them(ingested: Any) -> None:
    def undated(columns: dict[str, list[Any]]) -> None:
        columns["day"] = [None] * len(columns["day"])

    ingested.doctor(undated)
    ingested.set("preprocess.test_days", ["friday"])
    assert "no record of 'friday'; there are none: the records have no timestamp" in ingested.refusal(
        "preprocess", ConfigError
    )
