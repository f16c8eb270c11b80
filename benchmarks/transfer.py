"""What a champion does on records that another tool wrote, and after it was given thresholds of that network.

::

    python -m benchmarks.transfer data/cicids2017 data/cicids2017_improved other.csv.gz --seeds 2 [--same-meaning]

Each of the first two folders trains a champion with the settings that are shipped. Each champion then scores the
records of every other path. The table says:

- whether the file is accepted in silence: what its contract says of it;
- the share of its benign records that raise an alarm at p99, and the recall of its attacks;
- the same after ``adopt``: thresholds come from 1,500 of its benign records, and all figures from the other records.

With ``--same-meaning`` the champions leave out the columns in which tools mean different things.

Benign records are drawn at random: these samples have no order of capture.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import config
from pipeline.alarms.project import SHIPPED, with_settings
from pipeline.artifacts.files import write_json
from pipeline.datasets.incoming import incoming
from pipeline.datasets.schema import DIFFERS
from pipeline.datasets.sources import sources
from pipeline.serving.adoption import with_thresholds_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import ContractCheck

ADOPTED = 1_500  # benign records
P99 = "p99"


@dataclass(frozen=True)
class Line:
    """One champion on one set of records."""

    champion: str
    records: str
    seed: int
    contract: str
    benign: int
    attacks: int
    before: tuple[float, float]
    after: tuple[float, float]

    def __str__(self) -> str:
        shares = [f"{100 * share:.2f} %" for share in (*self.before, *self.after)]
        cells = [
            self.champion,
            self.records,
            self.seed,
            self.contract,
            f"{self.benign:,}",
            f"{self.attacks:,}",
            *shares,
        ]
        return f"| {' | '.join(map(str, cells))} |"


def champion(path: Path, seed: int, same_meaning: bool) -> Bundle:
    """A model with the settings that are shipped, but for the columns that may be left out."""
    dropped = config.read(SHIPPED)["preprocess"]["features"]["drop"]
    given = {
        "preprocess.features.drop": [*dropped, *sorted(DIFFERS)] if same_meaning else dropped,
        "ingest.dataset": "cicids2017",
        "ingest.path": str(path.resolve()),
        "preprocess.seed": seed,
        "stage2.fit.seed": seed,
        "stage2.calibration.seed": seed,
    }
    with TemporaryDirectory() as folder:
        write_json(Path(folder) / config.PARAMS, with_settings(config.read(SHIPPED), given))
        command = [sys.executable, "-m", "pipeline.alarms.training"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return Bundle.of_project(Path(folder) / "data")


def read(path: Path, bundle: Bundle) -> tuple[pa.Table, str]:
    """The records of a path as the model reads them, and what its contract says of them."""
    check, tables = ContractCheck(bundle.sealed.about["contract"]), []
    files = [path] if path.is_file() else [path / source.place for source in sources(path)]
    for file in files:
        for chunk in incoming(file, "cicids2017", bundle.columns).read():
            check.add(chunk)
            tables.append(chunk.records)
    found = check.result()
    return pa.concat_tables(tables), f"{found['state']}: {found['sentences'][0]}" if found["sentences"] else found[
        "state"
    ]


def measured(name: str, bundle: Bundle, path: Path, seed: int) -> Line | None:
    """Before and after; None where there are too few benign records to adopt."""
    records, contract = read(path, bundle)
    y = records.column("y")
    benign = np.random.default_rng(seed).permutation(np.flatnonzero(pc.equal(y, 0).fill_null(False)))
    attacks = np.flatnonzero(pc.equal(y, 1).fill_null(False))
    if len(benign) < ADOPTED + 500:
        return None
    first, later = (records.take(pa.array(np.sort(rows))) for rows in (benign[:ADOPTED], benign[ADOPTED:]))
    attacked = records.take(pa.array(attacks))
    adopted = with_thresholds_of(bundle, first)
    before, after = (
        tuple(float(model.predict(table).flagged[P99].mean()) for table in (later, attacked))
        for model in (bundle, adopted)
    )
    return Line(name, path.name, seed, contract, len(later), len(attacks), before, after)  # type: ignore[arg-type]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--same-meaning", action="store_true", help="leave out the columns that tools fill differently")
    chosen = parser.parse_args()
    head = ["champion", "records", "seed", "contract", "benign", "attacks", "FPR", "recall", "FPR adopted", "recall"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for seed in range(chosen.seeds):
        for trained in chosen.paths[:2]:
            bundle = champion(trained, seed, chosen.same_meaning)
            for other in chosen.paths:
                line = measured(trained.name, bundle, other, seed) if other != trained else None
                if line is not None:
                    print(line, flush=True)


if __name__ == "__main__":
    main()
