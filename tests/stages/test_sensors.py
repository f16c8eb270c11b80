"""Logs of network sensors through all seven stages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table
from pipeline.datasets.synthetic.zeek_logs import write_logs
from pipeline.serving import arrivals, intake
from pipeline.serving.bundle import Bundle
from pipeline.serving.quarantine import Held
from pipeline.serving.scored import table_path
from tests.datasets.sensors.logs import FIELDS, SCAN, TLS, json_lines, tsv

STAGES = ("ingest", "validate", "preprocess", "stage1", "stage2", "calibrate", "evaluate")


@pytest.fixture
def connections() -> list[dict[str, Any]]:
    """Connections of an office, a few of them unanswered, and a scan that a few servers answer."""
    random = np.random.default_rng(0)
    made = []
    for number in range(500):
        scan, odd = number % 5 == 0, random.random() < 0.1
        sent, received = random.integers(3, 40, 2).tolist()
        served = {
            "duration": float(random.exponential(3)), "orig_bytes": sent * 90, "resp_bytes": received * 600,
            "orig_pkts": sent, "orig_ip_bytes": sent * 130, "resp_pkts": received, "resp_ip_bytes": received * 640,
            "service": str(random.choice(["ssl", "http"])),
        }  # fmt: skip
        probe = {"id.resp_p": int(random.integers(1, 9000)), "orig_pkts": int(random.integers(1, 4))}
        one = {**SCAN, **probe} if scan != odd else {**TLS, **served}
        made.append({**one, "ts": 1.7e9 + number, "uid": f"C{number}", "label": "scan" if scan else "benign"})
    return made


def test_a_labelled_log_of_zeek_runs_through_every_stage(project: Any, connections: list[dict[str, Any]]) -> None:
    Path("zeek").mkdir()
    tsv(Path("zeek/conn.log"), connections, (*FIELDS, "label"))
    project.set("ingest.dataset", "zeek")
    project.set("ingest.path", "zeek")
    project.run(*STAGES)
    source = read_json(paths.SOURCE)
    assert (source["dataset"], source["records"], source["blank"], source["rejected"]) == ("zeek", 500, 0, 0)
    assert source["passed_over"] == {"comment": 9}
    train = read_samples(paths.PROCESSED, "train")
    assert {"state=SF", "service=-", "byte_rate", "bwd_fin", "duration"} <= {*train.columns}
    assert not {"destination_port", "src_port", "flow_id"} & {*train.columns}
    assert read_json(paths.METRICS)["seen"]["auroc"] > 0.8


def test_a_log_of_zeek_without_labels_runs_through_every_stage(project: Any) -> None:
    write_logs(Path("zeek"), 800, 2, seed=0)
    project.set("ingest.dataset", "zeek")
    project.set("ingest.path", "zeek")
    project.run(*STAGES)
    source = read_json(paths.SOURCE)
    assert (source["labels"], source["rejected"]) == ("none", 0)
    assert read_json(paths.METRICS)


def test_a_model_of_one_tool_scores_its_files_alone(
    project: Any, connections: list[dict[str, Any]], week: Path, tmp_path: Path
) -> None:
    log = tsv(tmp_path / "conn.log", connections, (*FIELDS, "label"))
    project.set("ingest.dataset", "zeek")
    project.set("ingest.path", str(log))
    project.run("ingest", "preprocess", "stage1", "stage2", "calibrate")
    bundle = Bundle.of_project()
    fresh = tsv(tmp_path / "conn.later.log", connections)
    summary = intake.score(arrivals.identify(fresh, tmp_path), bundle, 1)
    assert isinstance(summary, dict) and (summary["records"], summary["rejected"]) == (len(connections), 0)
    assert "labels" not in summary
    flows = next(week.iterdir())
    held = intake.score(arrivals.identify(flows, week), bundle, 1)
    assert isinstance(held, Held)
    assert "is a CSV of CICFlowMeter; the model was trained on 'zeek' and reads a conn.log of Zeek" in held.reason


@pytest.mark.parametrize("write", [tsv, json_lines])
def test_labels_of_a_file_that_is_scored_are_counted(
    project: Any, connections: list[dict[str, Any]], tmp_path: Path, write: Any
) -> None:
    """The field and its words are those of the settings of training."""
    words = {"benign": "usual", "scan": "scan"}
    made = [{**each, "truth": words[each["label"]]} for each in connections]
    extra = ((*FIELDS, "truth"),) if write is tsv else ()
    log = write(tmp_path / "conn.log", made, *extra)
    project.set("ingest.dataset", "zeek")
    project.set("ingest.path", str(log))
    project.set("ingest.zeek.label", "truth")
    project.set("ingest.zeek.benign", ["usual"])
    project.run("ingest", "preprocess", "stage1", "stage2", "calibrate")
    flood = {**made[1], "truth": "scan", "duration": 1e6, "orig_pkts": 10**8, "orig_ip_bytes": 10**11}
    made += [{**made[0], "truth": "-"}, *[flood] * 5]
    later = write(tmp_path / "conn.later.log", made, *extra)
    file, bundle = arrivals.identify(later, tmp_path), Bundle.of_project()
    summary = intake.score(file, bundle, 1)
    assert isinstance(summary, dict)
    labels = summary["labels"]
    assert (labels["benign"]["records"], labels["attacks"]["records"]) == (400, 105)
    assert labels["by_attack"] == {"scan": labels["attacks"]}
    truth = np.array([each["truth"] for each in made])
    score = read_table(table_path(file.key(1)), ["score"])["score"].to_numpy()
    flagged = score > bundle.calibration.thresholds["p95"]
    assert flagged[-5:].any()
    assert labels["benign"]["alarms"]["p95"] == flagged[truth == "usual"].sum()
    assert labels["attacks"]["alarms"]["p95"] == flagged[truth == "scan"].sum()


def test_a_model_of_flows_refuses_a_log_of_zeek(prepared: Any, tmp_path: Path) -> None:
    log = tsv(tmp_path / "conn.log", [TLS, SCAN])
    held = intake.score(arrivals.identify(log, tmp_path), Bundle.of_project(), 1)
    assert isinstance(held, Held)
    assert "conn.log: is a conn.log of Zeek; the model was trained on 'cicids2017'" in held.reason
