"""Port scans hidden among the benign training records of CIC-IDS-2017: what confidence updates find, and what it helps.

    python -m benchmarks.hidden_scans FOLDER [--seeds 5] [--shares 0 0.01 0.027 0.05 0.1] [--detectors radon grand maf]

FOLDER holds records in a format of CIC-IDS-2017. ingest and preprocess run as the pipeline runs them, in a temporary
folder; port scans and the four default attacks are unseen, and a share of the benign training records is port scans
that bear the label benign. Each detector is trained on all features (quantile scaling) twice from the same start, with
confidence updates and without; the MAF is a small one (5 layers of 128 units), of which a CPU can train fifty.

Precision and recall are those of the last update: of the records that it takes for anomalous, the share that is a
hidden scan, and the share of the hidden scans that it takes for anomalous. AUROC is on test_unseen: all attacks, the
scans that were not hidden, and the others. Mean and standard deviation over the seeds; each draws splits, hidden
scans, start and batches anew. Detectors, updates and training have the settings of the section ``stage2`` of
``params.yaml``, but for the size of the MAF and its updates; ``--set`` changes one. As in stage 2, the seen attacks
among the validation records are watched, and their AUROC decides whether an update is undone. ``--unwatched`` leaves
that to what the benign validation records look like. No setting was chosen on these figures.

``--doubt sweeps`` doubts the train records whose like go to a port each (``preprocess.sweeps``), from features and the
port alone. ``--doubt witnesses`` doubts those whose like occur at one time only (``preprocess.witnesses``): by time
where the records have one, else by day. Where the column "updates" says yes, a detector with updates then begins with
this confidence, and any other one is fitted without the doubted records; "taken", precision and recall are those of
the doubt where no update follows. FOLDER may hold corrected records, too; these have times.

``--reading holdout`` hides DDoS in place of port scans, and reads no test record: AUROC is that of the labelled attacks
of train, which no detector here is trained on, against the benign records of calibration.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from benchmarks.published import detector, fit_settings, parsed, shipped, updates
from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples
from pipeline.base.samples import Samples, joined
from pipeline.evaluation import metrics
from pipeline.models.base import Batch
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches
from pipeline.models.training import History, Update, fit
from pipeline.settings.stage2 import Stage2

ROOT = Path(__file__).resolve().parent.parent
SCANS, DDOS = "port_scan", "ddos"
HIDDEN = {"test": SCANS, "holdout": DDOS}  # by the reading
DOUBTS = ("sweeps", "witnesses")
MAF = {
    "stage2.maf.confidence": "leave_out", "stage2.maf.layers": 5, "stage2.maf.hidden": 128,
    "stage2.confidence.updates": "always",
}  # fmt: skip
# Fewer benign records in train than by default, so that there are scans enough for the largest share.
SHARES = {"train": 0.25, "val": 0.1, "calibration": 0.1, "test_seen": 0.1, "test_unseen": 0.45}


def configure(folder: Path, seed: int, share: float, hidden: str = SCANS, doubt: Sequence[str] = ()) -> None:
    """Write params.yaml into the working folder."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["ingest"] |= {"dataset": "cicids2017", "path": str(folder)}
    params["preprocess"] |= {
        "seed": seed,
        "unseen": [*params["preprocess"]["unseen"], SCANS],
        "shares": SHARES,
        "contamination": {"share": share, "attacks": [hidden], "seed": seed},
    }
    for name in DOUBTS:
        params["preprocess"][name]["use"] = "always" if name in doubt else "never"
    derived = ["bytes_per_packet", "packets_per_second"]
    params["preprocess"]["features"] |= {"scaling": "quantile", "fit_on": "train", "derive": derived}
    Path("params.yaml").write_text(yaml.safe_dump(params))


def stage(name: str) -> None:
    """Run one stage in the working folder."""
    command = [sys.executable, "-m", f"pipeline.stages.{name}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)})


def batch(samples: Samples) -> Batch:
    """A split as tensors."""
    return Batch(torch.from_numpy(samples.x), torch.tensor(samples.y), torch.tensor(samples.confidence))


def trained(
    chosen: Stage2, train: Samples, val: Samples, watched: Samples | None, seed: int
) -> tuple[Detector, Update | None, History]:
    """A detector, its last update, and what happened in its training."""
    torch.manual_seed(seed)
    model = detector(chosen, len(train.columns))
    known = train if model.heeds_confidence else train.select(train.trusted)
    model.fit(torch.from_numpy(known.x))
    told: list[Update] = []
    shutil.rmtree("checkpoints", ignore_errors=True)
    history = fit(
        model, batch(known), batch(val), fit_settings(chosen, seed=seed, device="cpu"), Path("checkpoints"),
        updates=updates(chosen, model), on_update=told.append, watched=None if watched is None else batch(watched),
        progress=False,
    )  # fmt: skip
    return model, told[-1] if told else None, history


def judged(model: Detector, test: Samples, hidden: str) -> dict[str, float]:
    """AUROC of all attacks, of those of the hidden kind, and of the others."""
    score = in_batches(model.score, test.x, ROWS_AT_ONCE, "cpu")
    rows = {"all": test.y >= 0, "hidden": test.benign | (test.attack == hidden), "others": test.attack != hidden}
    return {f"auroc_{name}": metrics.auroc(test.y[mask], score[mask]) or np.nan for name, mask in rows.items()}


def judging(reading: str) -> Samples:
    """The records that judge: those of test_unseen, or benign ones of calibration and the labelled attacks of train."""
    if reading == "test":
        return read_samples(paths.PROCESSED, "test_unseen")
    benign, train = (read_samples(paths.PROCESSED, split) for split in ("calibration", "train"))
    return joined([benign.select(benign.benign), train.select(~train.benign)])


def found(confidence: NDArray[np.float32], train: Samples) -> dict[str, float]:
    """How right the last confidence was."""
    hidden, anomalous = train.attack != "benign", confidence < 0
    both = int((hidden & anomalous).sum())
    return {
        "taken": float(anomalous.mean()),
        "precision": both / anomalous.sum() if anomalous.any() else np.nan,
        "recall": both / hidden.sum() if hidden.any() else np.nan,
    }


def main() -> None:
    """Print a row for each share and detector, with and without updates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.01, 0.027, 0.05, 0.1])
    parser.add_argument("--detectors", nargs="+", default=["radon", "grand", "maf"])
    parser.add_argument("--reading", choices=tuple(HIDDEN), default="test")
    parser.add_argument("--unwatched", action="store_true", help="no attack decides whether an update is undone")
    parser.add_argument("--doubt", choices=DOUBTS, nargs="+", default=[], help="doubt records that may be hidden scans")
    parser.add_argument("--set", nargs="+", default=[], help="settings that differ from params.yaml, as KEY=VALUE")
    given = parser.parse_args()
    rows: dict[tuple[float, str, bool], list[dict[str, float]]] = {}
    folder = given.folder.resolve()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        hidden = HIDDEN[given.reading]
        configure(folder, 0, 0.0, hidden)
        stage("ingest")
        for seed in range(given.seeds):
            for share in given.shares:
                configure(folder, seed, share, hidden, given.doubt)
                stage("preprocess")
                for name in given.detectors:
                    for updated in ways(name, bool(given.doubt)):
                        rows.setdefault((share, name, updated), []).append(once(name, seed, updated, given))
                print(f"seed {seed}, share {share:g} done", file=sys.stderr, flush=True)
            print(f"\nseeds 0 to {seed}\n")
            table(rows)
    print(f"\n{rows[given.shares[0], given.detectors[0], False][0]['n']:.0f} benign train records")


def ways(name: str, doubt: bool) -> tuple[bool, ...]:
    """Without the confidence of records, and with it where there is any."""
    return (False, True) if doubt or name == "maf" or DETECTORS[name].updated else (False,)


def once(name: str, seed: int, updated: bool, given: argparse.Namespace) -> dict[str, float]:
    """Train and judge one detector on what preprocess wrote."""
    changes = (MAF if name == "maf" else {}) | parsed(given.set)
    chosen = shipped(name, changes | ({} if updated else {"stage2.confidence.updates": "never"}))
    parts = {split: read_samples(paths.PROCESSED, split) for split in ("train", "val")}
    train, val = (parts[split].select(parts[split].benign) for split in ("train", "val"))
    if not updated:
        train = replace(train, confidence=np.ones_like(train.confidence))
    watched = None if given.unwatched else parts["val"]
    model, update, history = trained(chosen, train, val, watched, seed)
    learnt = {"kept": history.best_epoch, "updates": history.updates_seen, "undone": len(history.undone)}
    more = found(update.confidence, train) | learnt if update else {"kept": history.best_epoch}
    if not update and not train.trusted.all():
        more |= found(train.confidence, train)
    return {"n": len(train), **judged(model, judging(given.reading), HIDDEN[given.reading]), **more}


def table(rows: dict[tuple[float, str, bool], list[dict[str, float]]]) -> None:
    """Print it as Markdown."""
    columns = ("auroc_all", "auroc_hidden", "auroc_others", "taken", "precision", "recall")
    counts = ("kept", "updates", "undone")
    print("| hidden | detector | updates | " + " | ".join(columns + counts) + " |")
    print("|---:|---|---|" + "---:|" * len(columns + counts))
    for (share, name, updated), results in rows.items():
        cells = [_mean_and_spread([result.get(column, np.nan) for result in results]) for column in columns]
        cells += [_range([result[count] for result in results if count in result]) for count in counts]
        line = [f"{100 * share:g} %", name, "yes" if updated else "no", *cells]
        print(f"| {' | '.join(line)} |", flush=True)


def _range(values: list[float]) -> str:
    """``3``, or ``3 to 9``."""
    return " to ".join(dict.fromkeys(f"{value:g}" for value in (min(values), max(values)))) if values else ""


def _mean_and_spread(values: list[float]) -> str:
    there = [value for value in values if not np.isnan(value)]
    return f"{np.mean(there):.3f} ± {np.std(there):.3f}" if there else ""


if __name__ == "__main__":
    main()
