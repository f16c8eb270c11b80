"""NSL-KDD and a table of one's own through the same stages, with the settings that are made for CIC-IDS-2017."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError, ConfigError, DataError, ExpectationError, RejectedError, SchemaError
from pipeline.calibration import fused
from pipeline.datasets.nslkdd import COLUMNS
from pipeline.preprocessing import splits
from pipeline.preprocessing.features import Features
from pipeline.serving.bundle import Bundle

REAL = Path(__file__).parents[3] / "shared" / "data"
STAGES = ("ingest", "validate", "preprocess", "stage1", "stage2", "calibrate", "evaluate")


def connection(random: np.random.Generator, attack: str) -> str:
    """A made-up line of NSL-KDD: attacks send more, to services of their own, and most are not answered."""
    service = random.choice(["http", "smtp", "domain_u"] if attack == "normal" else ["private", "http"])
    cells: list[object] = [
        "0",
        random.choice(["tcp", "udp"]),
        service,
        random.choice(["SF", "S0"], p=[0.9, 0.1] if attack == "normal" else [0.1, 0.9]),
    ]
    cells += [random.integers(0, 900) + 500 * (attack != "normal"), random.integers(0, 9000)]
    cells += ["0"] * 16 + [random.integers(1, 50), random.integers(1, 50)]
    cells += [f"{rate:.2f}" for rate in random.random(7)] + [255, random.integers(1, 255)]
    cells += [f"{rate:.2f}" for rate in random.random(8)]
    assert len(cells) == len(COLUMNS)
    return ",".join(map(str, [*cells, attack, 21]))


@pytest.fixture
def connections(project: Any) -> Any:
    """A project over made-up files in the format of NSL-KDD."""
    random = np.random.default_rng(0)
    folder = Path("nslkdd")
    folder.mkdir()
    for name, attacks in (("KDDTrain+.txt", ["neptune", "satan"]), ("KDDTest+.txt", ["neptune", "mscan"])):
        labels = random.choice(["normal", *attacks], 400, p=[0.6, 0.3, 0.1])
        (folder / name).write_text("".join(connection(random, label) + "\n" for label in labels))
    project.set("ingest.dataset", "nslkdd")
    project.set("ingest.path", "nslkdd")
    return project


def table(project: Any, text: str) -> Any:
    Path("mine.csv").write_text(text)
    project.set("ingest.dataset", "table")
    project.set("ingest.path", "mine.csv")
    return project


def told(stage: str, name: str) -> Any:
    return json.loads((paths.REPORTS / stage / f"{name}.json").read_text())


def test_nslkdd_runs_through_every_stage(connections: Any, capsys: pytest.CaptureFixture[str]) -> None:
    connections.run(*STAGES)
    passed_over = (
        "destination_port, bytes_per_packet, packets_per_second, bot, infiltration, dos_slowloris, dos_slowhttp"
    )
    assert f"passed over, as these records have none of it: {passed_over}" in capsys.readouterr().out
    assert told("preprocess", "splits")["passed_over"] == passed_over.replace("slowhttp", "slowhttptest").split(", ")
    assert told("validate", "summary")["failed_hard"] == 0
    assert told("validate", "confidence_intervals_epoch_0")["protocol_type"]["words"] == 2
    train = read_samples(paths.PROCESSED, "train")
    assert {"service=http", "flag=S0", "src_bytes"} <= set(train.columns)
    assert set(np.unique(train.x[:, train.columns.index("service=http")])) == {0.0, 1.0}
    assert np.isfinite(train.x).all()
    assert read_samples(paths.PROCESSED, "test_unseen").benign.all()
    metrics = read_json(paths.METRICS)
    assert metrics["unseen"]["auroc"] is None
    assert metrics["seen"]["auroc"] > 0.5


def test_an_unseen_attack_of_nslkdd_and_counts_for_words(connections: Any) -> None:
    connections.set("preprocess.unseen", ["mscan", "bot"])
    connections.set("preprocess.features.categorical", "count")
    connections.run("ingest", "preprocess")
    assert set(read_samples(paths.PROCESSED, "test_unseen").attack) == {"benign", "mscan"}
    features = Features.load(*read_model(paths.FEATURES))
    assert features.columns[-2:] == ("service_count", "flag_count")
    val = read_samples(paths.PROCESSED, "val")
    assert val.columns == features.columns
    assert np.isfinite(val.x).all()


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("preprocess.unseen", ["msacn"], "mscan"),
        ("preprocess.features.drop", ["destination_prot"], "destination_port"),
        ("preprocess.features.drop", ["srvice"], "service"),
        ("preprocess.features.derive", ["bytes_per_paket"], "bytes_per_packet"),
        ("preprocess.contamination.attacks", ["neptun"], "neptune"),
    ],
)
def test_a_misspelt_name_is_refused_whatever_the_records(connections: Any, name: str, value: Any, near: str) -> None:
    connections.run("ingest")
    connections.set(name, value)
    message = connections.refusal("preprocess", ConfigError)
    assert name in message
    assert f"(did you mean {near!r}?)" in message


def test_validate_judges_by_what_ingest_told(connections: Any) -> None:
    connections.run("ingest")
    connections.doctor(lambda columns: columns["attack"].__setitem__(0, "neptun"))
    assert "is a known attack or benign: broken by 1 of 800" in connections.refusal("validate", ExpectationError)
    source = read_json(paths.SOURCE)
    del source["columns"]
    write_json(paths.SOURCE, source)
    assert "data/interim/source.json: tells no columns" in connections.refusal("validate", ArtifactError)


def test_a_table_runs_through_every_stage(project: Any) -> None:
    random = np.random.default_rng(0)
    label = random.random(400) < 0.2
    x = random.normal(size=400) + 3 * label
    rows = [
        f"{a:.4f},{random.normal():.4f},{'red' if a > 0 else 'blue'},{int(b)}\n" for a, b in zip(x, label, strict=True)
    ]
    table(project, "size,row,colour,label\n" + "".join(rows))
    project.set("ingest.table.categorical", ["colour"])
    project.run(*STAGES)
    source = read_json(paths.SOURCE)
    assert source["dataset"] == "table mine"
    assert source["families"] == {"attack": "attack", "benign": "benign"}
    assert [column["name"] for column in source["columns"]] == ["size", "row_column", "colour"]
    assert read_samples(paths.PROCESSED, "train").columns == (
        "size",
        "row_column",
        "colour=blue",
        "colour=red",
    )
    assert read_json(paths.METRICS)["seen"]["auroc"] > 0.8
    page = (paths.REPORTS / "validate" / "docs" / "index.html").read_text()
    assert "Observed words" in page
    assert "records of table mine" in page


@pytest.mark.parametrize(
    ("text", "error", "parts"),
    [
        ("a,lable\n1,0\n2,1\n", SchemaError, ["mine.csv", "no column 'label' (did you mean 'lable'?)"]),
        ("a,b,label\n1,,0\n2,,1\n", SchemaError, ["has a value in 'b'", "ingest.table.ignore_columns"]),
        ("a,b,label\n1,x,0\n2,y,1\n", SchemaError, ["column 'b' holds text", "ingest.table.categorical"]),
        ("a,label\n1,0\nx,1\n3,1\n", RejectedError, ["mine.csv, row 2, column 'a': 'x' is not a number"]),
        ("a,label\n1,2\n2,2\n", DataError, ["every one of 2 records is an attack", "ingest.table.benign"]),
        ("a,label\nx,0\ny,1\n", SchemaError, ["column 'a' holds text"]),
    ],
)
def test_a_table_that_is_none_leaves_what_was_there(
    project: Any, text: str, error: type[DataError], parts: list[str]
) -> None:
    project.run("ingest")
    before = paths.RECORDS.read_bytes()
    message = table(project, text).refusal("ingest", error)
    for part in parts:
        assert part in message
    assert paths.RECORDS.read_bytes() == before


@pytest.mark.real
@pytest.mark.parametrize(
    ("dataset", "path", "features"), [("nslkdd", "nslkdd", 122), ("table", "adbench/6_cardio.npz", 21)]
)
def test_published_records(project: Any, dataset: str, path: str, features: int) -> None:
    if not (REAL / path).exists():
        pytest.skip(f"the real records are absent: {REAL / path}")
    project.set("ingest.dataset", dataset)
    project.set("ingest.path", str(REAL / path))
    project.run("ingest", "validate", "preprocess")
    assert told("validate", "summary")["failed_hard"] == 0
    train = read_samples(paths.PROCESSED, "train")
    assert len(train.columns) <= features
    told_of = told("preprocess", "splits")
    assert not told_of["left_out"].get("benign")
    in_splits = sum(len(read_samples(paths.PROCESSED, name)) for name in splits.SPLITS)
    records = len(read_table(paths.RECORDS, ["record_id"]))
    assert in_splits + sum(told_of["left_out"].values()) == records
    assert sum(told_of["left_out"].values()) < 1e-3 * records  # the attacks among copies of calibration's benign rows


def test_a_bundle_of_records_with_words_judges_as_evaluate_does(connections: Any) -> None:
    connections.run("ingest", "preprocess", "stage1", "stage2", "calibrate")
    bundle = Bundle.of_project()
    assert {column.name for column in bundle.columns if column.categorical} == {"protocol_type", "service", "flag"}
    test = read_samples(paths.SCORES, "test_seen")
    records = read_table(paths.RECORDS)
    order = {record: row for row, record in enumerate(records.column("record_id").to_pylist())}
    judged = bundle.predict(records.take([order[record] for record in test.record_id.tolist()]))
    np.testing.assert_array_equal(np.stack([judged.margin, judged.detector], axis=1), test.x)


def test_a_column_of_words_tells_groups_too(connections: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "frequent", lambda names: sorted({str(name) for name in names} - {""}))
    connections.set("calibrate.group", "protocol_type")
    connections.run("ingest", "validate", "preprocess", "stage1", "stage2", "calibrate", "evaluate")
    told = read_json(paths.METRICS)["guarantee"]
    assert told["by"] == "protocol_type" and set(Bundle.of_project().calibration.groups) <= {"tcp", "udp", "icmp"}
    assert sum(group["n"] for group in told["groups"]["protocol_type"].values()) == told["n_benign"]
    assert Bundle.of_project().sealed.about["group"] == {"name": "protocol_type", "categorical": True}
