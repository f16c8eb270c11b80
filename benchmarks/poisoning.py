"""What adopting a network costs where its first stretch of traffic holds attacks that nobody has labelled.

    python -m benchmarks.poisoning ../shared/data/cicids2017_improved [--set stage2.detector=grand] [--seed 0]

A project with the settings that are shipped learns 60 % of the benign records as ``adopt`` does, without labels, with a
share of one kind of attack among them. The other benign records, and attacks that were not among them, say what the
model does then. Records are drawn at random: the samples have no order of capture. Each row of the table gives:

- the share of the train records that confidence updates set aside; none, where the detector has no updates;
- the share of clean benign records that raise an alarm at p99, which promises 1 %;
- the recall of the attack that was among the records, and the mean recall of all other attacks; in the first row, the
  recall of each attack where none was among the records;
- what ``adopt`` says of the model, from the later part of the same traffic, and of its drills.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from pipeline import config
from pipeline.alarms.project import SHIPPED, with_settings
from pipeline.artifacts.files import write_json
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.schema import FEATURES
from pipeline.serving import adoption
from pipeline.serving.bundle import Bundle
from pipeline.settings.evaluate import Drills

SHARES: Final = (0.0, 0.01, 0.05, 0.10, 0.33)
KINDS: Final = {"port_scan": "scan", "ddos": "flood", "ftp_patator": "brute force", "bot": "bot"}
FIRST: Final = 0.6  # share of the benign records that are adopted
HELD: Final = 0.25  # share of each attack that is kept for the test
LEAST: Final = 20  # records of an attack that is tested
P99: Final = "p99"
HEADERS: Final = {column.name: column.headers[0].strip() for column in FEATURES}


@dataclass(frozen=True)
class Traffic:
    """Records by what they are; each kind is split into a part that may be adopted and a part for the test."""

    adopted: Mapping[str, pd.DataFrame]
    tested: Mapping[str, pd.DataFrame]


def traffic(path: Path, seed: int) -> Traffic:
    """The records of a path, shuffled."""
    chunks = [chunk.records.to_pandas() for chunk in CICIDS2017(path, columns="present").read()]
    records = pd.concat(chunks, ignore_index=True).sample(frac=1.0, random_state=seed)
    records = records[records["y"].notna() & (records["attempted"] != True)]  # noqa: E712 (there are nulls)
    adopted, tested = {}, {}
    for attack, of in records.groupby(records["attack"].astype(str)):
        cut = round(len(of) * (FIRST if attack == "benign" else 1 - HELD))
        adopted[str(attack)], tested[str(attack)] = of.iloc[:cut], of.iloc[cut:]
    return Traffic(adopted, tested)


def stretches(given: Traffic, shares: Sequence[float]) -> Iterator[tuple[str, float, pd.DataFrame]]:
    """Kind, its share and the records of each first stretch; a kind of which there are too few is left out."""
    benign = given.adopted["benign"]
    for share in shares:
        for kind in KINDS if share else ("none",):
            wanted = round(share / (1 - share) * len(benign))
            there = given.adopted.get(kind, benign.iloc[:0])
            if wanted <= len(there):
                yield kind, share, pd.concat([benign, there.iloc[:wanted]]).sample(frac=1.0, random_state=0)


def learned(first: pd.DataFrame, settings: Mapping[str, Any]) -> tuple[Bundle, str, str]:
    """The model of a first stretch, the share of it that was set aside, and what adopt says of the model."""
    given = {"ingest.dataset": "cicids2017", "ingest.path": "first.csv", "ingest.labels": "none", **settings}
    with TemporaryDirectory() as folder:
        columns = {name: header for name, header in HEADERS.items() if name in first}
        first[[*columns]].rename(columns=columns).to_csv(Path(folder) / "first.csv", index=False)
        given["ingest.cicids2017.columns"] = "present"
        write_json(Path(folder) / config.PARAMS, with_settings(config.read(SHIPPED), given))
        command = [sys.executable, "-m", "pipeline.alarms.training"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with chdir(folder):
            bundle = Bundle.of_project()
            (trial,) = adoption.compared({"a model of this network": bundle}, P99, Drills(500, 0, ""))
            return bundle, _set_aside(Path("data/reports/stage2")), str(trial)


def _set_aside(folder: Path) -> str:
    """The share of the train records that the last update called anomalous."""
    files = sorted(folder.glob("confidence_epoch_*.csv"), key=lambda path: int(path.stem.rpartition("_")[2]))
    if len(files) < 2:  # the first one has what the labels say
        return "no updates"
    return f"{100 * (pd.read_csv(files[-1])['confidence'] < 0).mean():.1f} %"


def alarms(bundle: Bundle, records: pd.DataFrame) -> float:
    """The share of records that raise an alarm at p99."""
    columns = {column.name: records[column.name].to_numpy() for column in bundle.columns}
    flagged: NDArray[np.bool_] = bundle.predict(columns).flagged[P99]
    return float(flagged.mean())


def row(kind: str, share: float, first: pd.DataFrame, given: Traffic, settings: Mapping[str, Any]) -> str:
    """A line of the table; where no attack is adopted, the recall of each attack."""
    bundle, aside, said = learned(first, settings)
    found = {name: alarms(bundle, of) for name, of in given.tested.items() if len(of) >= LEAST}
    fpr, own = found.pop("benign"), found.pop(kind, None)
    each = ", ".join(f"{name} {100 * recall:.1f}" for name, recall in found.items())
    cells = [
        KINDS.get(kind, kind),
        f"{100 * share:.0f} %",
        aside,
        f"{100 * fpr:.2f} %",
        each if own is None else f"{100 * own:.1f} %",
        f"{100 * float(np.mean([*found.values()])):.1f} %",
        said.partition(": ")[2],
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--shares", nargs="*", type=float, default=SHARES)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    settings = {name: yaml.safe_load(value) for name, _, value in (each.partition("=") for each in chosen.settings)}
    given = traffic(chosen.path, chosen.seed)
    tested = ", ".join(f"{name} {len(of):,}" for name, of in given.tested.items() if len(of) >= LEAST)
    print(f"Adopted: {len(given.adopted['benign']):,} benign records and the attacks. Tested: {tested}.\n")
    head = ["attack", "share", "set aside", "FPR", "recall of it", "of others", "adopt says"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for kind, share, first in stretches(given, chosen.shares):
        print(row(kind, share, first, given, settings), flush=True)


if __name__ == "__main__":
    main()
