"""How much of the loss under published labels is due to attack records that never exchanged a payload.

    python -m benchmarks.published_labels ../shared/data/cicids2017 [--seeds 0 1 2 3 4]

The published labels of CIC-IDS-2017 name a record after its time and addresses, whatever it did. Many "bots" are
connections that carried nothing: no payload went either way. Nothing in such a record tells what it was for. Engelen,
Rimmer and Joosen ("Troubleshooting an Intrusion Detection Dataset: the CICIDS2017 Case Study", 2021) label them as
attempts. The extractor counts the padding of short Ethernet frames, up to 6 bytes, as payload. So a record has none
where no packet is longer than that.

For each seed the pipeline runs as shipped, in a temporary folder, and its figures on ``test_unseen`` are stated three
times. ``all``: every record. ``without``: the same model, without the attack records that have no payload. ``and
untrained``: such records of seen attacks are also kept out of training, and all splits are drawn without them.

Attacks are weighted as in the design ``paper`` of benchmark.yaml. Each record keeps its weight when others are taken
away. "F1" is at the deployed p99, with as many attacks as benign records, and "FPR" the rate that is realised there.
"F1 at 1.3 %" takes the threshold from the benign test records, at a realised FPR of at most 1.3 %. "No payload" is the
AUROC of the bots without payload against the benign records without payload. All in %, but for the number of bots.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from benchmarks.deployed import ROOT, STAGES, run, write
from benchmarks.encoders import heading, show
from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table, values_by_id
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.prediction import Prediction
from pipeline.evaluation.metrics import auroc

LONGEST: Final = ("fwd_packet_length_max", "bwd_packet_length_max")
PADDING: Final = 6  # bytes
FPR: Final = 0.013
KINDS: Final = ("as shipped", "and untrained")
SHOWN: Final = (
    "AUROC", "recall", "FPR", "F1", "F1 at 1.3 %", "bots", "their AUROC", "their recall", "no payload",
)  # fmt: skip

Mask = NDArray[np.bool_]
Row = dict[str, float]


def without_payload(record_id: NDArray[np.uint64]) -> Mask:
    """(n,) which records carry no payload, either way."""
    longest = [values_by_id(paths.RECORDS, name, record_id) for name in LONGEST]
    return np.asarray(np.maximum(*longest) <= PADDING)


def tests() -> tuple[dict[str, NDArray[Any]], Mask, Mask]:
    """The records of ``test_unseen`` by what is known of them, and the false alarms of both tests at p99."""
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    seen, unseen = (read_samples(paths.SCORES, name) for name in ("test_seen", "test_unseen"))
    said_seen, said = (Prediction.of(calibration, *samples.x.T) for samples in (seen, unseen))
    found = {
        "attack": unseen.attack.astype(str),
        "score": said.score,
        "alarm": said.flagged["p99"],
        "empty": without_payload(unseen.record_id),
    }
    false = np.concatenate([said_seen.flagged["p99"][seen.benign], said.flagged["p99"][unseen.benign]])
    return found, false, unseen.benign


def weights(mix: Mapping[str, int]) -> dict[str, float]:
    """Attack -> weight of each of its records: all those that ingest stored weigh together what the mix says."""
    attacks = read_table(paths.RECORDS, ["attack"]).column("attack").value_counts().to_pylist()
    return {each["values"]: mix[each["values"]] / each["counts"] for each in attacks if each["values"] in mix}


def ranked(score: NDArray[np.float64], benign: Mask, rows: Mask) -> NDArray[np.float64]:
    """(k,) share of the benign records that each of the rows scores above, a tie counting one half."""
    reference = np.sort(score[benign])
    below, upto = (np.searchsorted(reference, score[rows], side) for side in ("left", "right"))  # type: ignore[call-overload]
    return np.asarray((below + upto) / 2 / len(reference))


def f1(recall: float, fpr: float) -> float:
    """With as many attacks as benign records."""
    return 2 * recall / (1 + recall + fpr)


def figures(found: Mapping[str, NDArray[Any]], false: Mask, benign: Mask, kept: Mask, weight: NDArray[Any]) -> Row:
    """What is said of the attack records that are kept."""
    rows, score, alarm = kept & ~benign, found["score"], found["alarm"]
    bots = rows & (found["attack"] == "bot")
    own = np.sort(score[benign])[-int(FPR * benign.sum()) - 1]
    recall, own_recall = (np.average(mask[rows], weights=weight[rows]) for mask in (alarm, score > own))
    empty = bots & found["empty"]
    alike = np.isin(np.arange(len(benign)), np.flatnonzero((benign & found["empty"]) | empty))
    row = {
        "AUROC": np.average(ranked(score, benign, rows), weights=weight[rows]),
        "recall": recall,
        "FPR": false.mean(),
        "F1": f1(recall, float(false.mean())),
        "F1 at 1.3 %": f1(own_recall, float((score[benign] > own).mean())),
        "bots": bots.sum() / 100,  # a number
        "their AUROC": ranked(score, benign, bots).mean(),
        "their recall": alarm[bots].mean(),
        "no payload": auroc(empty[alike], score[alike]) or np.nan if empty.any() else np.nan,
    }
    return {name: 100 * float(value) for name, value in row.items()}


def as_attempts() -> None:
    """Mark the stored attack records that have no payload as attempts, which ``preprocess.attempted`` leaves out."""
    table = read_table(paths.RECORDS)
    attempted = without_payload(table.column("record_id").to_numpy()) & (table.column("y").to_numpy() == 1)
    at = table.schema.get_field_index("attempted")
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(attempted)), paths.RECORDS)


def stated(kind: str, weigh: Mapping[str, float]) -> dict[str, Row]:
    """The figures of the models in the working folder, by the name of the line."""
    found, false, benign = tests()
    weight = np.array([weigh.get(name, 0.0) for name in found["attack"]])
    everything = np.ones(len(benign), bool)
    lines = {"all": everything, "without": ~found["empty"]} if kind == KINDS[0] else {kind: everything}
    return {name: figures(found, false, benign, kept, weight) for name, kept in lines.items()}


def measured(
    params: dict[str, Any], seeds: Sequence[int], mix: Mapping[str, int], kinds: Sequence[str]
) -> dict[str, list[Row]]:
    """Line -> its figures, seed by seed; of ``KINDS``, as_attempts is for good, so that the second one comes last."""
    rows: dict[str, list[Row]] = {"all": [], "without": [], "and untrained": []}
    weigh = weights(mix)
    for kind in kinds:
        if kind == "and untrained":
            as_attempts()
        for seed in seeds:
            write(params, **dict.fromkeys(("preprocess.seed", "stage2.fit.seed", "stage2.calibration.seed"), seed))
            run(*STAGES)
            for name, row in stated(kind, weigh).items():
                rows[name].append(row)
                show(f"{name}, seed {seed}", [row], [*SHOWN])
    return {name: found for name, found in rows.items() if found}


def main() -> None:
    """Print a line for each kind and seed, and one for all seeds of a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which models are trained")
    given = parser.parse_args()
    paper = yaml.safe_load((ROOT / "benchmark.yaml").read_text())["designs"]["paper"]
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings = {
        "ingest.dataset": "cicids2017",
        "ingest.path": str(given.folder.resolve()),
        "preprocess.unseen": paper["unseen"],
        "preprocess.attempted": "exclude",
    }
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        write(params, **settings)
        run("ingest")
        heading([*SHOWN], "attack records")
        rows = measured(params, given.seeds, paper["mix"], [kind for kind in KINDS if kind in given.kinds])
    for kind, found in rows.items():
        show(kind, found, [*SHOWN])


if __name__ == "__main__":
    main()
