"""What a model of simulated Zeek logs does with attacks that it has not seen, and how often it alarms on benign logs.

    python -m benchmarks.zeek_alarms [--conversations N] [--seed K]

The logs are of five working days with ``N`` benign conversations. The stages from ingest to calibrate run with the
settings of ``params.yaml``, in a temporary folder, once for each row:

with attacks
    the attacks of five days are in the logs, and a field names them.
without local_orig, local_resp
    the same records without the two features that tell who is in the office. All simulated attackers are outside.
benign, no labels
    the logs hold benign traffic alone, and no label.

A row has the AUROC of both test splits (that of attacks of a kind that was seen, and that of the others), the recall of
the unseen attacks at p99, and the benign records of each test split that raise an alarm at p99, which asks for 1 %.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.deployed import ROOT, STAGES, judged, run, write
from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model
from pipeline.calibration.calibration import Calibration
from pipeline.datasets.schema import NO_ATTACK
from pipeline.datasets.synthetic.zeek_logs import write_logs
from pipeline.evaluation.metrics import auroc

DAYS = 5
LOCAL = ("local_orig", "local_resp")
SPLITS = ("test_seen", "test_unseen")
HEAD = "| logs | AUROC seen | AUROC unseen | recall unseen | benign alarms, test_seen | benign alarms, test_unseen |"


def figures() -> list[str]:
    """The cells of a row, from what the stages left in the working folder."""
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    ranked, alarms, recall = [], [], None
    for split in SPLITS:
        attacks, said = judged(split, calibration)
        attack, flagged = ~np.isin(attacks, NO_ATTACK), said.flagged["p99"]
        ranked.append(auroc(attack, said.score))
        recall = flagged[attack].mean() if attack.any() else None
        benign = flagged[~attack]
        alarms.append(f"{benign.sum()} of {benign.size:,}: {100 * benign.mean():.2f} %")
    return [*("-" if value is None else f"{value:.3f}" for value in (*ranked, recall)), *alarms]


def measure(name: str, logs: Path, params: dict[str, Any], **settings: Any) -> None:
    """Run the stages on some logs, and print a row."""
    write(params, **{"ingest.dataset": "zeek", "ingest.path": str(logs)}, **settings)
    run("ingest", *STAGES)
    print(f"| {name} | {' | '.join(figures())} |", flush=True)


def main() -> None:
    """Print a table with a row for each kind of logs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the simulated traffic")
    given = parser.parse_args()
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    drop = params["preprocess"]["features"]["drop"]
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        labelled, bare = Path("labelled").resolve(), Path("bare").resolve()
        write_logs(labelled, given.conversations, DAYS, given.seed, attacks=True)
        write_logs(bare, given.conversations, DAYS, given.seed)
        print(f"{HEAD}\n|---|{'---:|' * (HEAD.count('|') - 2)}", flush=True)
        measure("with attacks", labelled, params)
        measure(f"without {', '.join(LOCAL)}", labelled, params, **{"preprocess.features.drop": [*drop, *LOCAL]})
        measure("benign, no labels", bare, params, **{"preprocess.features.drop": drop})


if __name__ == "__main__":
    main()
