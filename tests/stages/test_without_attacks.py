"""Records without labels, or with benign ones alone, go through all stages: the model learns what is usual."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ConfigError, DataError, SchemaError, TrainingError
from pipeline.datasets import labelling
from pipeline.datasets.synthetic.drills import KINDS
from pipeline.datasets.synthetic.files import write
from pipeline.evaluation import promotion_gate
from pipeline.serving import heldout
from pipeline.serving.bundle import Bundle
from pipeline.settings.evaluate import Evaluate
from pipeline.settings.promotion import Rules

STAGES = ("ingest", "validate", "preprocess", "stage1", "stage2", "calibrate", "evaluate")


def benign(cells: list[list[str]]) -> None:
    for row in cells[1:]:
        row[-1] = "BENIGN"


def unlabelled(cells: list[list[str]]) -> None:
    for row in cells:
        del row[-1]


@pytest.fixture
def quiet(project: Any) -> Any:
    """A project of benign records; the shipped head would learn from attacks."""
    project.only("Monday")
    project.edit("Monday", benign)
    project.set("stage2.head", "boosting")
    project.set("calibrate.scores", ["detector", "head"])
    return project


def test_benign_records_alone_become_a_model_that_the_gate_can_judge(quiet: Any) -> None:
    quiet.run(*STAGES)
    assert read_model(paths.HEAD)[0]["detector"] == "none"
    found = read_json(paths.METRICS)
    assert found["seen"]["n_attack"] == found["unseen"]["n_attack"] == 0
    assert set(found["drills"]) == {"altered", "simulated"}
    altered, simulated = found["drills"]["altered"], found["drills"]["simulated"]
    assert set(altered["kinds"]) == {"mixed", "largest", "silent", "multiplied"}
    assert altered["kinds"]["multiplied"]["thresholds"]["p99"]["recall"] > 0.5
    assert set(simulated["kinds"]) == set(KINDS) and set(simulated["thresholds"]) == {"p99.9", "p99", "p97", "p95"}
    assert simulated["n"] == sum(of["n"] for of in simulated["kinds"].values())
    assert found["traffic"]["n"] == found["guarantee"]["n_benign"]
    page, card = paths.PAGE.read_text(), (paths.REPORTS / "evaluate" / "model_card.md").read_text()
    assert "No test record is an attack" in page and "Drills stand for attacks" in page
    assert "Simulated attacks" in page and "drill: simulated attack" in card
    bundle, rules = Bundle.of_project(), config.load(Rules)
    selection = heldout.with_drills(heldout.select([bundle]), [bundle], config.load(Evaluate).drills)
    counts = selection.counts
    assert (counts["attacks"], counts["unseen_attacks"], counts["drills"]) == (0, 0, 500)
    assert list(counts)[-1] == "left_out"
    [judged] = heldout.predict(selection, [bundle], rules.threshold)
    short = selection.heldout.shortage(rules)
    assert short.startswith("undecided: ") and "at least 500 are needed" in short  # of these few records
    names = {line.name for line in promotion_gate.admit(selection.heldout, judged, _few(rules)).criteria}
    assert {"recall of drill_mixed", "recall of all drills", "AUROC on drills"} <= names
    assert not [name for name in names if "attack" in name]


@pytest.fixture
def attacks(project: Any) -> Path:
    """A day with attacks, kept apart before the others are removed."""
    path = Path("attacks.csv")
    path.write_bytes(project.file("PortScan").read_bytes())
    return path


def test_attacks_of_a_named_file_are_drills_and_change_no_model(attacks: Path, quiet: Any) -> None:
    quiet.run(*STAGES[:-1])
    models = {path: path.read_bytes() for path in paths.THRESHOLDS.parent.iterdir()}
    quiet.set("evaluate.drills.file", str(attacks))
    quiet.set("evaluate.drills.records", 0)
    quiet.run("evaluate")
    found = read_json(paths.METRICS)["drills"]
    assert set(found) == {"named"} and set(found["named"]["kinds"]) == {"port_scan"}
    assert found["named"]["n"] == attacks.read_text().count("PortScan")
    assert "Attacks of attacks.csv" in paths.PAGE.read_text()
    assert {path: path.read_bytes() for path in paths.THRESHOLDS.parent.iterdir()} == models


def test_a_named_file_is_tried_where_attacks_are_known_too(attacks: Path, project: Any) -> None:
    project.set("preprocess.unseen", ["port_scan"])
    project.run(*STAGES)
    assert "drills" not in read_json(paths.METRICS)
    project.set("evaluate.drills.file", str(attacks))
    project.run("evaluate")
    assert set(read_json(paths.METRICS)["drills"]) == {"named"}
    assert "Attacks of attacks.csv" in paths.PAGE.read_text()


def test_a_named_file_that_is_absent_or_has_no_attack_is_said(attacks: Path, quiet: Any) -> None:
    quiet.run(*STAGES[:-1])
    quiet.set("evaluate.drills.file", "nothing.csv")
    assert "evaluate.drills.file: nothing.csv: no such file" in quiet.refusal("evaluate", ConfigError)
    quiet.set("evaluate.drills.file", str(quiet.file("Monday")))
    assert "none of its 110 records is labelled as an attack" in quiet.refusal("evaluate", ConfigError)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The header, and the rows of each kind, without labels that say so."""
    folder = tmp_path_factory.mktemp("week")
    found: dict[str, list[str]] = {}
    for path in write(folder, 5_000, 1):
        header, *rows = path.read_text("utf-8").splitlines()
        found.setdefault("header", [header])
        for line in rows:
            cells, _, label = line.rpartition(",")
            found.setdefault(label, []).append(f"{cells},BENIGN")
    return found


def drilled(project: Any, lines: dict[str, list[str]], floods: int) -> dict[str, float]:
    """The share of each kind of simulated attack that a model finds at p95; floods are among what it learns."""
    rows = [*lines["BENIGN"][:: len(lines["BENIGN"]) // 400][:400], *lines["DoS Hulk"][:floods]]
    project.raw.joinpath("week.csv").write_text("\n".join([*lines["header"], *rows]) + "\n", "utf-8")
    project.run(*STAGES)
    assert "dos_hulk" in paths.PAGE.read_text()
    kinds = read_json(paths.METRICS)["drills"]["simulated"]["kinds"]
    return {kind: of["thresholds"]["p95"]["recall"] for kind, of in kinds.items()}


def test_a_week_that_is_one_third_attack_shows_in_the_drills_of_that_attack(
    project: Any, lines: dict[str, list[str]]
) -> None:
    for path in project.raw.iterdir():
        path.unlink()
    project.set("stage2.detector", "knn")
    project.set("ingest.labels", "none")
    clean, poisoned = drilled(project, lines, 0), drilled(project, lines, 200)
    assert clean["dos_hulk"] > 0.2
    assert poisoned["dos_hulk"] < 0.1  # learnt as usual
    assert min(clean["heartbleed"], poisoned["heartbleed"]) > 0.8


def test_a_silent_model_is_not_admitted_on_drills(quiet: Any) -> None:
    quiet.run(*STAGES)
    bundle, rules = Bundle.of_project(), _few(config.load(Rules))
    selection = heldout.with_drills(heldout.select([bundle]), [bundle], config.load(Evaluate).drills)
    [judged] = heldout.predict(selection, [bundle], rules.threshold)
    silent = promotion_gate.Judged(np.zeros_like(judged.score), np.zeros_like(judged.alarm), judged.calibrated_on)
    assert not promotion_gate.admit(selection.heldout, silent, rules).passed


def test_records_without_labels_are_read_where_that_is_said(project: Any) -> None:
    project.only("Monday")
    project.edit("Monday", unlabelled)
    assert "set ingest.labels to none" in project.refusal("ingest", SchemaError)
    project.set("ingest.labels", "none")
    project.run(*STAGES)
    assert read_json(paths.SOURCE)["labels"] == "none"
    assert set(read_table(paths.RECORDS, ["attack"]).column("attack").to_pylist()) == {"unlabelled"}
    assert set(read_samples(paths.PROCESSED, "train").attack) == {"benign"}


def test_labels_that_are_there_are_not_read_where_that_is_said(project: Any) -> None:
    project.set("ingest.labels", "none")
    project.run("ingest")
    assert set(read_table(paths.RECORDS, ["y"]).column("y").to_pylist()) == {0}
    assert read_json(paths.SOURCE)["labels"] == "none"


def test_a_part_without_labels_counts_as_benign_and_is_refused_where_all_are_asked_for(project: Any) -> None:
    project.edit("Monday", lambda cells: [row.__setitem__(-1, "") for row in cells[1:11]])
    project.set("ingest.labels", "partial")
    project.run("ingest", "validate", "preprocess")
    source = read_json(paths.SOURCE)
    assert source["labels"] == "partial"
    assert sum(file["attacks"].get("unlabelled", 0) for file in source["files"].values()) == 10
    assert "unlabelled" not in set(read_samples(paths.PROCESSED, "train").attack)


def test_an_encoder_that_learns_from_attacks_says_what_to_set_instead(quiet: Any) -> None:
    trained: list[object] = []
    quiet.set("stage1.encoder", "residual_mlp")
    quiet.run("ingest", "preprocess")
    quiet.on_metrics = lambda values, step=None: trained.append(values)
    assert "set stage1.encoder to identity" in quiet.refusal("stage1", TrainingError)
    assert not trained  # it is said before the first epoch, not after the last


def test_a_detector_that_learns_from_attacks_says_what_to_set_instead(quiet: Any) -> None:
    quiet.set("stage2.detector", "boosting")
    quiet.run("ingest", "preprocess", "stage1")
    assert "set it to ensemble" in quiet.refusal("stage2", ConfigError)


def test_fifty_records_are_enough_to_run_and_too_few_to_decide(quiet: Any) -> None:
    quiet.edit("Monday", lambda cells: cells.__delitem__(slice(51, None)))
    quiet.run(*STAGES)
    bundle = Bundle.of_project()
    assert "undecided" in heldout.select([bundle]).heldout.shortage(config.load(Rules))


def test_full_labels_are_held_to(project: Any) -> None:
    project.set("ingest.labels", "full")
    project.run("ingest")
    assert read_json(paths.SOURCE)["labels"] == "full"
    project.edit("Monday", lambda cells: cells[1].__setitem__(-1, ""))
    assert "1 records have no label: Monday" in project.refusal("ingest", DataError)
    with pytest.raises(DataError, match=r"3 records have no label: a.csv \(3\).*set it to auto or partial"):
        labelling.require("full", {"a.csv": {"unlabelled": 3, "benign": 4}})
    labelling.require("auto", {"a.csv": {"unlabelled": 3, "benign": 4}})


def _few(rules: Rules) -> Rules:
    return config.load(Rules).__class__(**{**vars(rules), "min_benign": 1})
