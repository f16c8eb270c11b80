"""What a few labels of analysts teach: recall on the rest of an unseen attack after 1, 5 and 20 confirmed alerts.

    python -m benchmarks.five_labels ../shared/data/cicids2017_improved [--seeds 0 1] [--counts 1 5 20]
        [--attacks bot ...] [--set stage2.label_weight=50 ...]

Half of the records of each unseen attack, and a tenth of all others, are set aside as traffic that came in later. The
model is trained on the others and scores that traffic. The analyst walks down its alerts at p99, the strongest first,
confirms the first n of one attack and dismisses the first n that are benign. The model is trained anew with these
labels, by the stages of the pipeline and the settings of ``params.yaml``.

Columns: how many labels the alerts gave; the records of the attack that are left in test_unseen; their recall at 0.1 %
and 1 % of the tests' own benign records, before and after, and at the deployed p99.9; the false alarms at p99.9 and
p99 on these benign records; the mean recall of the other unseen attacks at 1 %, before and after, and which of them
fell most, by how many points; how many of the dismissed alerts are alerts at p99 again. All shares are in %.
"""

import argparse
import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from benchmarks.deployed import ROOT, STAGES, run, write
from pipeline.artifacts import labels, paths
from pipeline.artifacts.labels import BENIGN, Label
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import TableWriter, read_table, strings
from pipeline.base.samples import joined
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.schema import PROVENANCE, Column
from pipeline.evaluation.metrics import tpr_at_fpr
from pipeline.serving.bundle import Bundle
from pipeline.stages.labelled_records import Missing

HEAD = (
    "| attack | seed | confirmed | dismissed | rest | 0.1 % before | after | 1 % before | after | "
    "at p99.9 | FPR p99.9 | FPR p99 | others before | after | largest fall | come back |"
)


@dataclass(frozen=True)
class Tests:
    """What a model says of the records of both test splits, (n,) each."""

    record_id: NDArray[np.uint64]
    attack: NDArray[np.str_]
    score: NDArray[np.float64]
    flagged: dict[str, NDArray[np.bool_]]

    @classmethod
    def of_project(cls) -> "Tests":
        """By the scores and thresholds that lie in the working folder."""
        said = joined([read_samples(paths.SCORES, split) for split in ("test_seen", "test_unseen")])
        predicted = Prediction.of(Calibration.load(*read_model(paths.THRESHOLDS)), *said.x.T)
        return cls(said.record_id, said.attack.astype(str), predicted.score, predicted.flagged)

    def recall(self, attack: NDArray[np.bool_], fpr: float) -> float:
        """Share of the records under a mask that the ranking finds at a share of the benign ones."""
        rows = attack | (self.attack == BENIGN)
        return tpr_at_fpr(attack[rows], self.score[rows], fpr) or 0.0

    def others(self, attack: str, unseen: list[str]) -> dict[str, float]:
        """Recall of each other unseen attack at 1 %."""
        return {name: self.recall(self.attack == name, 0.01) for name in unseen if name != attack}


def set_aside(unseen: list[str]) -> pa.Table:
    """Take the traffic that comes in later out of the ingested records; it does not depend on any seed."""
    records = read_table(paths.RECORDS)
    number = records.column("record_id").to_numpy()
    later = number % np.where(np.isin(strings(records.column("attack")), unseen), 2, 10).astype(np.uint64) == 0
    store(records.filter(pa.array(~later)))
    return records.filter(pa.array(later & ~records.column("attempted").fill_null(False).to_numpy()))


def store(records: pa.Table) -> None:
    """Make these the ingested records."""
    with TableWriter(paths.RECORDS, records.schema) as writer:
        writer.write(records)


def marks(traffic: pa.Table, said: Prediction, attack: str, most: int) -> list[Label]:
    """The labels of an analyst who confirms ``most`` alerts of one attack, and dismisses as many that are benign."""
    names = strings(traffic.column("attack")).astype(str)
    order = np.argsort(-said.score, kind="stable")
    alerts = order[said.flagged["p99"][order]]
    chosen = [row for name in (attack, BENIGN) for row in alerts[names[alerts] == name][:most]]
    return [_label(traffic.slice(int(row), 1).to_pylist()[0]) for row in chosen]


def _label(row: dict[str, Any]) -> Label:
    columns = {name: value for name, value in row.items() if name not in PROVENANCE}
    return Label(row["record_id"], row["attack"], "analyst", "2026-01-01T00:00:00+00:00", columns=columns)


def learn(base: pa.Table, given: list[Label]) -> None:
    """Train on the records and the labels."""
    paths.LABELS.unlink(missing_ok=True)
    for label in given:
        labels.append(label)
    columns = [Column(name) for name in base.column_names if name not in PROVENANCE]
    store(pa.concat_tables([base, Missing().records(columns, Said())]).unify_dictionaries())
    run(*STAGES)


class Said:
    """Stands for the report of ingest."""

    def say(self, text: str) -> None:
        """What would be said."""
        print(text, file=sys.stderr)


def line(attack: str, seed: int, given: list[Label], before: Tests, unseen: list[str], traffic: pa.Table) -> str:
    """What the model that was trained anew does."""
    after = Tests.of_project()
    rest = after.attack == attack
    same = np.isin(before.record_id, after.record_id[rest]) & (before.attack == attack)
    benign = after.attack == BENIGN
    shares = [
        before.recall(same, 0.001),
        after.recall(rest, 0.001),
        before.recall(same, 0.01),
        after.recall(rest, 0.01),
    ]
    shares += [after.flagged["p99.9"][rest].mean(), after.flagged["p99.9"][benign].mean()]
    others = [tests.others(attack, unseen) for tests in (before, after)]
    shares += [after.flagged["p99"][benign].mean(), *(float(np.mean([*each.values()])) for each in others)]
    fall, worst = max((others[0][name] - others[1][name], name) for name in others[0])
    lost = f"{worst} {100 * fall:.2f} of {(after.attack == worst).sum():,}" if fall > 0 else "none"
    dismissed = [label.record_id for label in given if label.attack == BENIGN]
    again = traffic.filter(pa.array(np.isin(traffic.column("record_id").to_numpy(), dismissed)))
    back = int(Bundle.of_project().predict(again).flagged["p99"].sum()) if again.num_rows else 0
    told = " | ".join(f"{100 * share:.2f}" for share in shares)
    confirmed = len(given) - len(dismissed)
    return f"| {attack} | {seed} | {confirmed} | {len(dismissed)} | {rest.sum():,} | {told} | {lost} | {back} |"


def main() -> None:
    """Print a line for each seed, attack and number of labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--attacks", nargs="+", default=[], help="default: all of preprocess.unseen")
    parser.add_argument("--set", dest="settings", nargs="*", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings = {name: yaml.safe_load(value) for name, value in (each.split("=", 1) for each in given.settings)}
    settings |= {"ingest.dataset": "cicids2017", "ingest.path": str(given.folder.resolve())}
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        write(params, **settings)
        with contextlib.redirect_stdout(sys.stderr):
            run("ingest")
        unseen = params["preprocess"]["unseen"]
        traffic = set_aside(unseen)
        base = read_table(paths.RECORDS)
        print(f"{HEAD}\n|---|{'---:|' * (HEAD.count('|') - 2)}", flush=True)
        for seed in given.seeds:
            write(params, **{"preprocess.seed": seed, "stage2.fit.seed": seed, "stage2.calibration.seed": seed})
            with contextlib.redirect_stdout(sys.stderr):
                learn(base, [])
            before, said = Tests.of_project(), Bundle.of_project().predict(traffic)
            for attack in given.attacks or unseen:
                for most in given.counts:
                    chosen = marks(traffic, said, attack, most)
                    with contextlib.redirect_stdout(sys.stderr):
                        learn(base, chosen)
                    print(line(attack, seed, chosen, before, unseen, traffic), flush=True)


if __name__ == "__main__":
    sys.exit(main())
