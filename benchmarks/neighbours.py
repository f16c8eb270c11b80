"""The nearest benign records: how fast they are found, how many are worth keeping, and how many neighbours to take.

    python -m benchmarks.neighbours speed [--path ../shared/data/cicids2017] [--references 3000 10000 ...]
    python -m benchmarks.neighbours choice [--path ../shared/data/cicids2017] [--seeds 3]

Without ``--path`` the records are simulated ones, ``--records`` of them. ingest, preprocess and stage1 run as shipped,
in a temporary folder or in that of ``--work``, which is used again.

``speed``: the benign records of train, val and calibration are the references, at most so many. Records of test_seen
are searched for, 8,192 at a time. ``before`` is a product over all references for each 128 records, with the norms of
the references computed anew. faiss has a part where the extra ``faiss`` is installed.
Rates are records per CPU-second on one thread; of two rounds the faster one counts, and the ratio is that to
``before`` in the same run. ``nearest`` is the share of 500 records whose distance is within a thousandth of the exact
one, in float64; ``rank`` is the rank correlation of their distances with the exact ones; ``MiB`` is what the index
takes beside the references.

``choice``: references and thresholds come from benign records of train and calibration, the realised FPR from those of
val. Recall is that of the seen attacks of train and val, none of which had a part in a fit. No unseen attack and no
test record is read. Means over seeds, which draw the references, and the standard deviation of the recall.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.deployed import ROOT, run, write
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.latents import read_latents
from pipeline.evaluation.metrics import auroc
from pipeline.models.arrays.neighbours import Search
from pipeline.models.detectors.cells import cells, number_of_cells
from pipeline.models.detectors.knn import KNN, among_all
from pipeline.models.scoring import BLOCK, ROWS_AT_ONCE

NEIGHBOURS = (1, 2, 5, 10, 20)
REFERENCES = (1_000, 3_000, 10_000, 32_000, 100_000, 1_000_000)
LEVELS = (0.01, 0.001)
FEW = 10**8  # pairs that the slow ways are measured on
CHECKED = 500


class Way(NamedTuple):
    """One way to search: its name, what builds it, and how much memory it takes beside the references, in MiB."""

    name: str
    build: Callable[[Tensor], Callable[[Tensor], Tensor]]
    copies: float
    slow: bool = False


def rows(split: str, benign: bool) -> tuple[Tensor, NDArray[np.str_]]:
    """What the detector sees of the benign records or the attacks of a split, and their names."""
    found = read_latents(split)
    found = found.select(found.benign == benign)
    return torch.from_numpy(np.ascontiguousarray(found.x)), found.attack.astype(str)


def together(*splits: str, benign: bool) -> tuple[Tensor, NDArray[np.str_]]:
    """``rows`` of several splits."""
    x, names = zip(*(rows(split, benign) for split in splits), strict=True)
    return torch.cat(x), np.concatenate(names)


def before(reference: Tensor) -> Callable[[Tensor], Tensor]:
    """The search as it was."""

    def found(part: Tensor) -> Tensor:
        order = torch.addmm(reference.square().sum(1), part, reference.T, alpha=-2)
        return order.topk(1, largest=False).indices[:, 0]

    return lambda z: torch.cat([found(part) for part in torch.split(z, BLOCK)])


def product(reference: Tensor) -> Callable[[Tensor], Tensor]:
    """One product over all references, their norms kept for many records."""
    return lambda z: among_all(reference, z, 1)[:, 0]


def by_cells(reference: Tensor) -> Callable[[Tensor], Tensor]:
    """The search as shipped."""
    cell = cells(reference, number_of_cells(len(reference)))
    order, sizes = cell.argsort(stable=True), torch.bincount(cell)
    search = Search(reference[order].numpy(), sizes[sizes > 0].numpy())
    return lambda z: order[torch.from_numpy(search.nearest(z.numpy(), 1)[:, 0])]


def faiss_ways() -> list[Way]:
    """Those of faiss, where it is installed."""
    try:
        import faiss
    except ImportError:
        return []
    faiss.omp_set_num_threads(1)

    def build(reference: Tensor, kind: str, probes: int = 0) -> Callable[[Tensor], Tensor]:
        lists = max(1, min(len(reference) // 39, round(2 * len(reference) ** 0.5)))
        index = faiss.index_factory(reference.shape[1], kind.format(lists))
        index.train(reference.numpy())
        index.add(reference.numpy())
        if probes:
            index.nprobe = probes
        return lambda z: torch.from_numpy(index.search(z.numpy(), 1)[1][:, 0])

    inverted = [
        Way(f"faiss IVF, {probes} probes", lambda r, n=probes: build(r, "IVF{},Flat", n), 1)  # type: ignore[misc]
        for probes in (4, 8, 16)
    ]
    return [Way("faiss flat", lambda r: build(r, "Flat"), 1, slow=True), *inverted]


def ways() -> list[Way]:
    """All that are compared."""
    own = [Way("before", before, 0, slow=True), Way("one product", product, 0, slow=True), Way("cells", by_cells, 0.3)]
    return own + faiss_ways()


def seconds(search: Callable[[Tensor], Tensor], z: Tensor) -> tuple[float, int]:
    """Processor seconds of the faster of two rounds over all rows of z, and how many there are."""
    best = np.inf
    for _ in range(2):
        started = time.process_time()
        for part in torch.split(z, ROWS_AT_ONCE):
            search(part)
        best = min(best, time.process_time() - started)
    return best, len(z)


def distance(z: Tensor, reference: Tensor, nearest: Tensor) -> NDArray[np.float64]:
    """(n,) distances of z, (n, F), from one reference each."""
    parts = zip(torch.split(z, ROWS_AT_ONCE), torch.split(nearest, ROWS_AT_ONCE), strict=True)
    return np.concatenate([(part.double() - reference[at]).square().sum(1).sqrt().numpy() for part, at in parts])


def speed(most: list[int]) -> None:
    """Print the table of ``speed``."""
    known = together("train", "val", "calibration", benign=True)[0]
    asked = torch.cat([rows("test_seen", benign)[0] for benign in (True, False)])
    asked = asked[torch.randperm(len(asked), generator=torch.Generator().manual_seed(0))][:16_384]
    print("| references | way | records/CPU-s | ratio | nearest | rank | build, CPU-s | MiB |\n|---|---|" + "---:|" * 6)
    for references in most:
        detector = KNN(known.shape[1], 1, references=references)
        detector.fit(known)
        mapped, rate = detector.standardise(asked), 0.0
        shuffled = detector.reference[torch.randperm(len(detector.reference))]
        few = max(BLOCK, FEW // len(shuffled))
        checked = mapped[:CHECKED]
        exact = distance(checked, shuffled, among_all(shuffled.double(), checked.double(), 1)[:, 0])
        for way in ways():
            started = time.process_time()
            search = way.build(shuffled)
            built = time.process_time() - started
            took, asked_of = seconds(search, mapped[:few] if way.slow else mapped)
            rate = rate or asked_of / took
            found = distance(checked, shuffled, search(checked))
            shown = (
                f"{asked_of / took:,.0f} | {asked_of / took / rate:.1f}",
                f"{(found <= exact * 1.001 + 1e-6).mean():.4f} | {spearmanr(found, exact).statistic:.5f}",
                f"{built:.2f} | {way.copies * shuffled.numel() * 4 / 2**20:.0f}",
            )
            print(f"| {len(shuffled):,} | {way.name} | {' | '.join(shown)} |", flush=True)
        if len(shuffled) < references:
            break


def distances(detector: KNN, x: Tensor) -> NDArray[np.float32]:
    """(n, k) distances of x from the neighbours, the nearest first."""
    place = torch.empty(int(detector.rows.max()) + 1, dtype=torch.int64)
    place[detector.rows] = torch.arange(len(detector.rows))
    found = []
    for part in torch.split(x, ROWS_AT_ONCE // 4):
        apart = detector.standardise(part)[:, None] - detector.reference[place[detector.nearest(part)]]
        found.append(apart.square().sum(2).sqrt().numpy())
    return np.concatenate(found)


def figures(of: dict[str, NDArray[np.float32]], names: NDArray[np.str_]) -> list[float]:
    """AUROC, then at each level the mean recall over attacks and over records, and the realised FPR."""
    y = np.arange(len(of["val"]) + len(of["attacks"])) >= len(of["val"])
    found = [auroc(y, np.concatenate([of["val"], of["attacks"]])) or 0.0]
    for level in LEVELS:
        alarm = of["attacks"] > (threshold := np.quantile(of["calibration"], 1 - level, method="higher"))
        found += [statistics.mean(alarm[names == name].mean() for name in {*names})]
        found += [float(alarm.mean()), float((of["val"] > threshold).mean())]
    return found


def choice(seeds: int, most: list[int], records: int = 6_000) -> None:
    """Print the table of ``choice``, of so many attacks and benign records of each split at most."""
    train, (attacks, names) = rows("train", True)[0], together("train", "val", benign=False)
    some = np.random.default_rng(0).permutation(len(attacks))[:records]
    asked = {"attacks": attacks[some], **{name: rows(name, True)[0][: 2 * records] for name in ("calibration", "val")}}
    print(f"{len(train):,} benign train records; {', '.join(f'{len(x):,} of {name}' for name, x in asked.items())}\n")
    recalls = " | ".join(f"macro recall, {level} | recall, {level} | FPR" for level in ("1 %", "0.1 %"))
    print(f"| references | neighbours | AUROC | {recalls} |")
    print("|---|" + "---:|" * 8)
    for references in most:
        found: dict[int, list[list[float]]] = {k: [] for k in NEIGHBOURS}
        for seed in range(seeds if references < len(train) else 1):
            detector = KNN(train.shape[1], max(NEIGHBOURS), references=references, seed=seed)
            detector.fit(train)
            apart = {name: distances(detector, x) for name, x in asked.items()}
            for k in NEIGHBOURS:
                found[k].append(figures({name: each[:, k - 1] for name, each in apart.items()}, names[some]))
        for k, values in found.items():
            print(f"| {min(references, len(train)):,} | {k} | {line(np.array(values))} |", flush=True)
        if references >= len(train):
            break


def line(values: NDArray[np.float64]) -> str:
    """Means in % and the spread of recalls of (seeds, 7) figures."""
    means, spread = 100 * values.mean(0), 100 * values.std(0, ddof=1) if len(values) > 1 else None
    shown = [f"{mean:.1f}" if place in (0, 1, 2, 4, 5) else f"{mean:.2f}" for place, mean in enumerate(means)]
    if spread is not None:
        shown = [f"{text} ± {spread[place]:.1f}" if place in (2, 5) else text for place, text in enumerate(shown)]
    return " | ".join(shown)


@contextlib.contextmanager
def prepared(given: argparse.Namespace) -> Iterator[None]:
    """Work in a folder in which ingest, preprocess and stage1 have run."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(given.work or scratch):
        if not paths.LATENT.exists():
            source = {"ingest.dataset": "cicids2017", "ingest.path": str(given.path)} if given.path else {}
            write(
                yaml.safe_load((ROOT / config.PARAMS).read_text()),
                **{"ingest.synthetic.records": given.records} | source,
            )
            run("ingest", "preprocess", "stage1")
        yield


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("speed", "choice"))
    parser.add_argument(
        "--path", type=lambda text: Path(text).resolve(), help="of CIC-IDS-2017; else they are simulated"
    )
    parser.add_argument("--records", type=int, default=50_000, help="that are simulated")
    parser.add_argument("--work", type=Path, help="folder that is kept")
    parser.add_argument("--references", type=int, nargs="+", default=list(REFERENCES))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with prepared(given):
        speed(given.references) if given.table == "speed" else choice(given.seeds, given.references)


if __name__ == "__main__":
    main()
