"""A network gets the model that keeps its promise on later records. Where that fails, settings are as before."""

from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flows import adopt, arguments, promotion, training
from flows.runtime import gpu, servers, working_copy
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import write_json
from pipeline.base.errors import ConfigError, FlowsculptError, SourceError, TrainingError
from pipeline.calibration.calibration import Calibration
from pipeline.datasets.registry import DATASETS
from pipeline.serving import adoption
from pipeline.serving.bundle import Bundle
from pipeline.settings.evaluate import Drills
from tests.datasets.sensors.logs import TLS, tsv

DRILLS = Drills(records=40, seed=0, file="")


def test_every_data_set_that_people_have_may_be_named() -> None:
    assert {*arguments.DATASETS} == {*DATASETS} - {"synthetic"}


def test_new_thresholds_keep_the_promise_that_old_ones_break(prepared: Any) -> None:
    right = Bundle.of_project()
    n = right.calibration.reference.size
    low = [np.linspace(-60, -50, n)] * len(right.calibration.surprisals)  # everything here scores higher
    wrong = right.with_calibration(Calibration.fit(*low, "detector", [99.0, 95.0]))
    (before,) = adoption.compared({"wrong": wrong}, "p99", DRILLS)
    (after,) = adoption.compared({"mended": adoption.recalibrated(wrong)}, "p99", DRILLS)
    assert before.alarms.alarms == before.alarms.records and not before.alarms.kept
    assert after.alarms.kept and "the promise is kept" in str(after)
    first, second = adoption.compared({"wrong": wrong, "right": right}, "p99", DRILLS)
    assert (first.name, second.name) == ("right", "wrong")


def test_records_that_set_the_thresholds_may_not_judge_them(prepared: Any) -> None:
    bundle = Bundle.of_project()
    assert {*adoption.recalibrated(bundle).used} >= {*bundle.used} - {0}


def test_a_decision_that_promises_nothing_cannot_adopt(prepared: Any) -> None:
    bundle = Bundle.of_project()
    scores = np.random.default_rng(0).normal(size=(len(bundle.calibration.surprisals), 300))
    silent = bundle.with_calibration(Calibration.fit(*scores, "cascade", [99.0]))
    with pytest.raises(ConfigError, match=r"p99.* promises no rate .*cascade"):
        adoption.compared({"published": silent}, "p99", DRILLS)


# The command, with the flows replaced by what they leave.


@pytest.fixture
def network(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project whose stages have run; ``happens`` says what training and the gate do."""
    Path("params.yaml").write_bytes((Path(__file__).parents[2] / "params.yaml").read_bytes())
    Path("own").mkdir()
    made = SimpleNamespace(training=(None, []), refused=False, kept=True)

    def train(**_: Any) -> Any:
        return SimpleNamespace(result=lambda **_: made.training)

    def gate(version: str, **_: Any) -> Any:
        return SimpleNamespace(message=f"version {version} judged", name="Refused" if made.refused else "Promoted")

    monkeypatch.setattr(training, "training", train)
    monkeypatch.setattr(promotion, "promotion", gate)
    monkeypatch.setattr("flows.reports.summary.text", lambda *_: "stages")
    monkeypatch.setattr(gpu, "ensure_devices", lambda: None)
    monkeypatch.setattr(working_copy, "check", lambda _: None)
    monkeypatch.setattr(servers, "connected", lambda _: nullcontext())
    monkeypatch.setattr(adopt, "_champion", lambda _: None)
    alarms = SimpleNamespace(kept=True)
    monkeypatch.setattr(adopt, "_tried", lambda _: ([SimpleNamespace(name=adopt.OWN, alarms=alarms)], []))
    made.alarms = alarms
    return made


def adopted(**given: Any) -> str:
    return adopt.adopted(Namespace(**{"path": "own", "dataset": "zeek", "alias": "champion", "promote": True} | given))


def test_the_records_become_those_of_the_project(network: Any) -> None:
    assert "version candidate judged" in adopted()
    assert {key: config.read()["ingest"][key] for key in ("dataset", "path", "labels")} == {
        "dataset": "zeek",
        "path": "own",
        "labels": "none",
    }
    assert "judged" not in adopted(promote=False)


def test_the_kind_of_the_records_is_known_by_what_the_files_hold(network: Any) -> None:
    tsv(Path("own/conn.log"), [TLS])
    assert "own: read as zeek" in adopted(dataset=None)
    assert config.read()["ingest"]["dataset"] == "zeek"


def test_records_of_no_known_tool_are_a_table_and_never_the_synthetic_ones(network: Any) -> None:
    assert config.read()["ingest"]["dataset"] == "synthetic"
    Path("own/mine.csv").write_text("bytes,packets\n1,2\n")
    assert "own: read as table" in adopted(dataset=None)
    assert config.read()["ingest"]["dataset"] == "table"
    assert config.read()["stage2"]["unlabelled"] == "ensemble"  # traffic is mostly benign, whoever reads it


def test_simulated_attacks_that_the_model_misses_are_named(network: Any) -> None:
    def at(share: float) -> dict[str, Any]:
        return {"n": 9, "thresholds": {"p99": {"recall": share, "low": 0.0, "high": 1.0}}}

    kinds = {"port_scan": at(0.0), "bot": at(0.9), "ddos": at(0.05)}
    write_json(paths.METRICS, {"drills": {"simulated": {**at(0.31), "kinds": kinds}}})
    said = adopted(promote=False)
    assert "31 % of simulated attacks (drills) raise an alarm at p99" in said
    assert "Hardly any are found of these kinds: port_scan, ddos. A kind" in said
    write_json(paths.METRICS, {})
    assert "drills" not in adopted(promote=False)


def test_settings_are_as_before_where_a_stage_fails(network: Any) -> None:
    before = Path("params.yaml").read_bytes()
    network.training = TrainingError("stage2: no")
    with pytest.raises(TrainingError):
        adopted()
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize(("kept", "refused", "said"), [(False, False, "No model keeps"), (True, True, "judged")])
def test_a_network_that_no_model_is_promoted_for_is_no_success(
    network: Any, kept: bool, refused: bool, said: str
) -> None:
    network.alarms.kept, network.refused = kept, refused
    with pytest.raises(adopt.PromotedNoneError, match=said):
        adopted()


def test_a_path_that_is_absent_is_said(network: Any) -> None:
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        adopted(path="nowhere")
    assert issubclass(adopt.PromotedNoneError, FlowsculptError)
