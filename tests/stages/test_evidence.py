"""The evidence of the stages before training: confidence, intervals and levels of ingest, validate and preprocess."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline import validation
from pipeline.artifacts import paths
from pipeline.artifacts.confidence import read_confidence
from pipeline.artifacts.files import read_json
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.evaluation.metrics import wilson
from pipeline.reporting import confidence_table
from pipeline.stages.reports import floor
from pipeline.validation.rules import broken
from tests.settings import limits_with

LEVELS = {"p99.9": 0.001, "p99": 0.01, "p97": 0.03, "p95": 0.05}


def confidence(stage: str) -> pd.DataFrame:
    path = paths.REPORTS / stage / "confidence_epoch_0.csv"
    table = pd.read_csv(path, dtype={"record_id": str}, keep_default_na=False)
    return table.set_index("record_id")


def told(stage: str, name: str) -> Any:
    return json.loads((paths.REPORTS / stage / f"{name}.json").read_text())


def ids() -> list[str]:
    return [f"{each:016x}" for each in read_table(paths.RECORDS)["record_id"].to_pylist()]


@pytest.fixture
def doubtful(project: Any) -> Any:
    """Record 0 has an infinite and an undefined number, 1 was only attempted, 2 and 3 are copies that contradict."""

    def change(columns: dict[str, list[Any]]) -> None:
        columns["flow_bytes_per_s"][0], columns["flow_packets_per_s"][0] = math.inf, math.nan
        columns["attempted"][1] = True
        columns["flow_duration"][4] = -5.0
        for name in FEATURE_NAMES:
            columns[name][3] = columns[name][2]
        columns["y"][3], columns["attack"][3], columns["family"][3] = 1, "ddos", "ddos"

    project.run("ingest")
    project.doctor(change)
    for name in ("duplicate_share", "disagreeing_share", "infinite_share", "null_share"):
        project.set(f"validate.{name}", 0.5)
    project.run("validate")
    return project


def test_ingest_trusts_what_it_read_as_it_was(project: Any) -> None:
    def spoil(cells: list[list[str]]) -> None:
        place = [name.strip() for name in cells[0]].index("Flow Bytes/s")
        cells[1][place] = "Infinity"

    path = project.edit("Monday", spoil)
    project.run("ingest")
    table = confidence("ingest")
    assert list(table.index) == ids()
    doubted = table[table["confidence"] < 1]
    assert doubted["why"].tolist() == ["1 undefined value"]
    assert doubted["confidence"].to_numpy() == pytest.approx(1 - 1 / len(FEATURE_NAMES))
    reach = told("ingest", "confidence_intervals_epoch_0")
    assert set(reach["columns"]) == set(FEATURE_NAMES)
    assert reach["columns"]["flow_bytes_per_s"]["infinite"] == 1
    assert reach["files"][path.name]["records"] == read_json(paths.SOURCE)["files"][path.name]["records"]
    values = read_table(paths.RECORDS)["flow_duration"].to_numpy()
    assert reach["columns"]["flow_duration"]["high"] == values.max()


def test_ingest_holds_shares_of_rows_against_each_limit(project: Any) -> None:
    path = project.file("Monday")
    path.write_bytes(path.read_bytes() + (b"," * 78 + b"\n") * 25 + b"too,short\n" * 6)
    project.set("ingest.max_rejected_share", 0.02)
    project.run("ingest")
    for name, limit in {**LEVELS, "max_rejected_share": 0.02}.items():
        shares = told("ingest", f"test_metrics_threshold={name}")
        assert shares["threshold"] == limit
        assert (shares["rejected"]["k"], shares["rejected"]["n"]) == (6, 606)
        assert (shares["blank"]["k"], shares["blank"]["n"]) == (25, 631)
        assert shares["rejected"]["within"] is (limit > 0.0099)
        assert [shares["blank"]["low"], shares["blank"]["high"]] == pytest.approx(wilson(25, 631))


def test_the_time_that_a_file_covers(project: Any) -> None:
    project.set("ingest.dataset", "synthetic")
    project.params["ingest"]["synthetic"]["records"] = 600
    project.set("ingest.synthetic.seed", 3)
    project.run("ingest")
    files = told("ingest", "confidence_intervals_epoch_0")["files"]
    times = read_table(paths.RECORDS, ["source_file", "timestamp"]).to_pandas()
    for name, file in files.items():
        own = times["timestamp"][times["source_file"] == name].dropna()
        assert (file["from"], file["to"]) == ((str(own.min()), str(own.max())) if len(own) else (None, None))


def test_validate_trusts_no_copy_that_contradicts_and_names_the_rules(doubtful: Any) -> None:
    table = confidence("validate")
    assert list(table.index) == ids()
    values, rules = table["confidence"].to_numpy(), table["rules"].to_list()
    features = len(FEATURE_NAMES)
    assert values[0] == pytest.approx(1 - 2 / features)
    assert "flow_bytes_per_s is not infinite" in rules[0]
    assert values[1] == values[2] == values[3] == 0
    assert "has no exact duplicate with another attack" in rules[2]
    assert "flow_duration is at least 0 (us)" in rules[4]
    assert values[4] <= 1 - 1 / features + 1e-6
    assert (values >= 0).all()
    assert (values[[not each for each in rules]] >= 0).all()


def test_the_rules_of_the_records_are_those_that_the_suite_counts(doubtful: Any) -> None:
    rules = confidence("validate")["rules"].str.split("; ")
    for finding in told("validate", "summary")["findings"]:
        if finding["kind"] in ("ranges", "identities", "undefined numbers", "duplicates"):
            about = "" if finding["kind"] in ("identities", "duplicates") else f"{finding['columns'][0]} "
            named = rules.map(lambda each, name=f"{about}{finding['text']}": name in each)
            assert named.sum() == finding["unexpected"], finding["text"]


@pytest.mark.parametrize(
    ("name", "settings", "values", "expected"),
    [
        ("ExpectColumnValuesToNotBeNull", {}, [1.0, None, 3.0], [False, True, False]),
        ("ExpectColumnValuesToBeInSet", {"value_set": ["a"]}, ["a", "b", None], [False, True, False]),
        ("ExpectColumnValuesToBeUnique", {}, [1, 1, 2], [True, True, False]),
        ("ExpectColumnValuesToBeBetween", {"min_value": 0}, [-1.0, np.nan, 5.0], [True, False, False]),
        ("ExpectColumnValuesToBeBetween", {"max_value": 4}, [-1.0, np.nan, 5.0], [False, False, True]),
    ],
)
def test_a_rule_tells_which_rows_break_it(name: str, settings: Any, values: Any, expected: Any) -> None:
    from pipeline.validation.suite import expect

    rule = expect(name, ("features", "ranges", "holds"), ("x",), 0.0, column="x", **settings)
    assert broken(rule, pd.DataFrame({"x": values})).tolist() == expected


def test_batches_do_not_change_the_trust(project: Any) -> None:
    project.run("ingest")
    table = read_table(paths.RECORDS)
    whole, cut = (validation.audit([table], limits_with(), rows=rows).trust for rows in (10_000, 64))
    assert (whole.record_id == cut.record_id).all()
    assert (whole.confidence == cut.confidence).all()
    assert [whole.rules[code] for code in whole.code] == [cut.rules[code] for code in cut.code]


def test_validate_tells_what_would_stop_the_line_at_each_budget(doubtful: Any) -> None:
    summary = told("validate", "summary")["findings"]
    counted = [each for each in summary if each["kind"] in ("undefined numbers", "identities", "ranges", "duplicates")]
    for name, budget in LEVELS.items():
        level = told("validate", f"test_metrics_threshold={name}")
        assert level["budget"] == budget
        assert len(level["would_stop"]) == sum(each["hard"] and each["share"] > budget for each in counted)
        assert len(level["would_warn"]) == sum(not each["hard"] and each["share"] > budget for each in counted)
        assert {"feature", "recall", "FPR", "recall_low", "fpr_high"} <= set(level)


def test_the_trust_of_validate_can_start_a_training(prepared: Any) -> None:
    prepared.run("validate")
    path = paths.REPORTS / "validate" / "confidence_epoch_0.csv"
    prepared.set("stage2.detector", "radon")
    prepared.set("stage2.confidence.updates", "never")
    prepared.set("stage2.fit.epochs", 1)
    prepared.set("stage2.confidence.initial", str(path))
    logged: dict[str, float] = {}
    prepared.on_metrics = lambda values, step=None: logged.update(values)
    prepared.run("stage2")
    train = read_samples(paths.PROCESSED, "train")
    assert logged["confidence.of_other_records"] == len(confidence("validate")) - train.benign.sum()


def test_preprocess_states_the_share_of_each_class(project: Any) -> None:
    project.run("ingest", "preprocess")
    counts = told("preprocess", "splits")
    intervals = told("preprocess", "confidence_intervals_epoch_0")
    assert set(intervals) == {"train", "val", "calibration", "test_seen", "test_unseen"}
    for split, classes in intervals.items():
        n = sum(counts[split].values())
        for attack, share in classes.items():
            assert (share["k"], share["n"]) == (counts[split][attack], n)
            assert (share["low"], share["high"]) == pytest.approx(wilson(share["k"], n))


def test_preprocess_states_the_floor_without_a_look_at_the_test(project: Any, monkeypatch: Any) -> None:
    read: list[str] = []

    class Watched(pq.ParquetFile):  # type: ignore[misc]
        def __init__(self, source: Any, **given: Any) -> None:
            read.append(Path(getattr(source, "name", source)).stem)
            super().__init__(source, **given)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    project.run("ingest", "preprocess")
    assert {"records", "train", "calibration", "val"} <= set(read)
    assert not {"test_seen", "test_unseen"} & set(read)
    val = read_samples(paths.PROCESSED, "val")
    benign = read_samples(paths.PROCESSED, "calibration")
    for name, share in LEVELS.items():
        level = told("preprocess", f"test_metrics_threshold={name}")
        sign, place = {"high": 1, "low": -1}[level["direction"]], val.columns.index(level["feature"])
        flagged = sign * val.x[:, place] > level["threshold"]
        assert level["TP"] == (flagged & ~val.benign).sum()
        assert level["FP"] == (flagged & val.benign).sum()
        assert (sign * benign.x[:, place] > level["threshold"]).mean() <= share


def test_the_strongest_feature_finds_most_at_each_level() -> None:
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 2000).astype(np.int8)
    noise, told_low, told_far = random.normal(size=(3, 4000))
    told_low[y == 1] -= 8
    told_far[3900:] += 50
    best = floor.strongest(y, np.stack([noise, told_far, told_low], axis=1), ["noise", "far", "low"])
    assert {(each.name, each.sign) for each in best.values()} == {("low", -1)}
    assert floor.strongest(y[:2000], noise[:2000, None], ["noise"]) == {}


def test_many_records_are_reported_as_a_stated_sample_beside_the_whole(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(confidence_table, "MOST_ROWS", 1000)
    record_id = np.arange(70_000, dtype=np.uint64) * 2**40 + 2**63
    values = np.linspace(-1, 1, 70_000).astype(np.float32)
    confidence_table.write(tmp_path, 3, {"record_id": record_id, "confidence": values})
    csv, whole = tmp_path / "confidence_epoch_3.csv", tmp_path / "confidence_epoch_3.parquet"
    about = json.loads((tmp_path / "confidence_epoch_3_sample.json").read_text())
    assert about == {"rows": 70_000, "sampled": 1000, "seed": 0, "whole": whole.name}
    sample = pd.read_csv(csv, dtype={"record_id": str})
    assert len(sample) == sample["record_id"].nunique() == 1000
    expected = dict(zip([f"{each:016x}" for each in record_id.tolist()], values.tolist(), strict=True))
    assert sample["confidence"].to_numpy() == pytest.approx([expected[each] for each in sample["record_id"]], abs=1e-6)
    assert sample["confidence"].mean() == pytest.approx(0, abs=0.06)
    read_ids, read_values = read_confidence(whole)
    assert (read_ids == record_id).all()
    assert (read_values == values).all()
    with pytest.raises(
        ArtifactError, match=r"is a sample of 1,000 of 70,000 records; give .*confidence_epoch_3.parquet"
    ):
        read_confidence(csv)


def test_few_records_are_reported_whole(tmp_path: Any) -> None:
    (tmp_path / "confidence_epoch_0_sample.json").write_text("{}")  # an earlier table was longer
    confidence_table.write(tmp_path, 0, {"record_id": np.arange(5, dtype=np.uint64), "confidence": np.ones(5)})
    assert [path.name for path in tmp_path.iterdir()] == ["confidence_epoch_0.csv"]
    assert len(read_confidence(tmp_path / "confidence_epoch_0.csv")[0]) == 5


def test_a_parquet_file_without_the_columns_is_refused(tmp_path: Any) -> None:
    pd.DataFrame({"record_id": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ArtifactError, match="a CSV or Parquet file with the columns record_id and confidence"):
        read_confidence(tmp_path / "x.parquet")
