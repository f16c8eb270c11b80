"""How many records the shipped model scores per CPU-second, from the bytes of a CSV to the tables, and what takes long.

    python -m benchmarks.scoring [--train 110000] [--records 200000] [--rounds 3] [--work FOLDER]

A model is trained with the shipped settings on ``--train`` simulated records, so that each of its five folds keeps
32,000 references. Then it scores ``--records`` others, which are one CSV in the format of CIC-IDS-2017, in a process of
its own with one thread for each library. No alert is explained: ``benchmarks.reasons`` measures that. Everything lies
in ``--work``, where the model is used again, or in a temporary folder.

Parts are CPU-microseconds a record. CSV is parsed in other threads; the time of these counts as reading. ``start`` is
the processor time from the start of the process until the model is loaded.

scikit-learn does less: the features are ready, as a matrix, and all records have the same model. That is the nearest of
32,000 benign records by brute force, and HistGradientBoostingClassifier with as many trees as the head has. It has no
mixture, no calibration, and writes nothing. Its neighbours are measured on some of the records. The best round counts,
of both.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
FILE = Path("records.csv")
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
SOME = 10_000  # records that scikit-learn's neighbours are measured on
PART = "{:<38} {:8.2f}"


class Clock:
    """Processor time of this thread, by part; what a part spends in another one counts there."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.inner: list[float] = []

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Time a function of a module or class."""
        plain = owner.__dict__[name]
        function = plain.__func__ if isinstance(plain, classmethod) else plain

        def timed(*given: Any, **named: Any) -> Any:
            with self.running(part):
                return function(*given, **named)

        setattr(owner, name, classmethod(timed) if isinstance(plain, classmethod) else timed)

    def wrap_steps(self, owner: Any, name: str, part: str) -> None:
        """Time the steps of a generator."""
        function = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Iterator[Any]:
            steps = function(*given, **named)
            while True:
                with self.running(part):
                    step = next(steps, None)
                if step is None:
                    return
                yield step

        setattr(owner, name, timed)

    @contextlib.contextmanager
    def running(self, part: str) -> Iterator[None]:
        """Count what is done inside."""
        started = time.thread_time()
        self.inner.append(0.0)
        try:
            yield
        finally:
            took = time.thread_time() - started
            self.spent[part] = self.spent.get(part, 0.0) + took - self.inner.pop()
            if self.inner:
                self.inner[-1] += took


def timed() -> Clock:
    """A clock for the parts of scoring."""
    from pipeline.calibration.prediction import Prediction
    from pipeline.models.arrays.mixture import Mixture
    from pipeline.models.arrays.neighbours import Search
    from pipeline.models.arrays.trees import Trees
    from pipeline.serving import judged, reading
    from pipeline.serving.alerts.building import AlertBuilder
    from pipeline.serving.batch import Judging
    from pipeline.serving.bundle import Bundle
    from pipeline.serving.two_stage import TwoStage

    clock = Clock()
    clock.wrap_steps(reading, "parts", "reading")
    for owner, name, part in (
        (Bundle, "x", "features"),
        (Search, "nearest", "detector: neighbours"),
        (Mixture, "log_density", "detector: mixture"),
        (Trees, "odds", "head: trees"),
        (TwoStage, "scores", "models: the rest, and making them"),
        (Prediction, "of", "calibration and verdicts"),
        (AlertBuilder, "alerts", "alerts, without reasons"),
        (judged, "judge", "counts, samples and tables"),
        (Judging, "_take", "counts, samples and tables"),
        (Judging, "summary", "counts, samples and tables"),
    ):
        clock.wrap(owner, name, part)
    return clock


def score() -> dict[str, Any]:
    """Score the file in the working folder, from the start of this process on."""
    from flows.runtime import program

    with program.quick_imports():
        from pipeline import config
        from pipeline.base.parallel import one_thread
        from pipeline.serving import arrivals, batch, loading
        from pipeline.settings.alerts import Alerts

    with one_thread():
        version, bundle = loading.load("champion")
        start, clock = time.process_time(), timed()
        before, own = time.process_time(), time.thread_time()
        alerts = replace(config.load(Alerts), explained=0)
        summary = batch.score(arrivals.identify(FILE, FILE), bundle, version.number, alerts=alerts)
        took = time.process_time() - before
        others = took - (time.thread_time() - own)
    clock.spent["reading"] += others
    clock.spent["the rest"] = took - sum(clock.spent.values())
    return {"start": start, "took": took, "parts": clock.spent, "records": summary["records"]}


def train(folder: Path, records: int) -> None:
    """Train the shipped model in a folder, and make it the champion there."""
    import yaml

    from benchmarks.champions import serve
    from benchmarks.deployed import STAGES, run, write
    from pipeline import config
    from pipeline.serving.bundle import Bundle

    with contextlib.chdir(folder):
        write(yaml.safe_load((ROOT / config.PARAMS).read_text()), **{"ingest.synthetic.records": records})
        run("ingest", *STAGES)
        serve(Bundle.of_project())


def simulate(file: Path, records: int) -> None:
    """Write records that the model has not seen, as one file."""
    from pipeline.datasets.synthetic.files import write

    with tempfile.TemporaryDirectory() as name, file.open("wb") as opened:
        for place, path in enumerate(write(Path(name), records, seed=7)):
            lines = path.read_bytes().splitlines(keepends=True)
            opened.writelines(lines[min(place, 1) :])


def features(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], int, int]:
    """Features of the file and of the train records, (n, F) each, 1 for an attack, and how many references and trees.

    The references and trees are those of one fold.
    """
    from pipeline.artifacts import paths
    from pipeline.artifacts.models import read_model
    from pipeline.artifacts.samples import read_samples
    from pipeline.serving import arrivals, loading, reading, record_columns

    with contextlib.chdir(folder):
        _, bundle = loading.load("champion")
        chunks = reading.chunks(arrivals.identify(FILE, FILE), bundle)
        x = [bundle.x(record_columns.table(bundle.columns, chunk.records)) for chunk in chunks]
        samples = read_samples(paths.PROCESSED, "train")
        references = len(read_model(paths.DETECTOR)[1]["models.0.members.knn.reference"])
        trees = len(read_model(paths.HEAD)[1]["models.0.root"])
    return np.concatenate(x), samples.x, samples.y.astype(np.int64), references, trees


def scikit_learn(
    x: NDArray[np.float32], known: NDArray[np.float32], y: NDArray[np.int64], size: int, trees: int
) -> Any:
    """What scores records by scikit-learn; gives processor seconds for each."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    benign = known[y == 0]
    scaler = StandardScaler().fit(benign)
    some = np.random.default_rng(0).permutation(len(benign))[:size]
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(scaler.transform(benign[some]))
    boosting = HistGradientBoostingClassifier(max_iter=trees, max_leaf_nodes=8, early_stopping=False).fit(known, y)
    asked = np.random.default_rng(1).permutation(len(x))[:SOME]

    def seconds() -> tuple[float, float]:
        nearest = spent(lambda: neighbours.kneighbors(scaler.transform(x[asked])))
        return nearest / len(asked), spent(lambda: boosting.decision_function(x)) / len(x)

    return seconds


def spent(function: Callable[[], object]) -> float:
    """Processor seconds of a call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def measure(folder: Path, rounds: int) -> None:
    """Print what was found."""
    x, known, y, references, trees = features(folder)
    seconds = scikit_learn(x, known, y, references, trees)
    found, others = [], []
    for _ in range(rounds):
        shutil.rmtree(folder / "data" / "scored", ignore_errors=True)
        command = [sys.executable, "-m", "benchmarks.scoring", "--inside"]
        environment = os.environ | ALONE | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        others.append(seconds())
    best = min(found, key=lambda each: each["took"])
    n, took = best["records"], best["took"]
    nearest, boosted = (min(each) for each in zip(*others, strict=True))
    print(f"{n:,} records, {x.shape[1]} features, {references:,} references and {trees} trees in each of 5 folds")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n\nCPU-us a record")
    for part, each in sorted(best["parts"].items(), key=lambda item: -item[1]):
        print(PART.format(part, each / n * 1e6))
    print(PART.format("all", took / n * 1e6))
    print(
        PART.format("scikit-learn, neighbours", nearest * 1e6)
        + "\n"
        + PART.format("scikit-learn, trees", boosted * 1e6)
    )
    rate, theirs = n / took, 1 / (nearest + boosted)
    whole = f"with a start of {best['start']:.2f} CPU-s {n / (took + best['start']):,.0f}"
    print(f"\nrecords per CPU-second: {rate:,.0f}; {whole}")
    print(f"scikit-learn, of ready features: {theirs:,.0f}; ratio {rate / theirs:.1f}")


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=110_000)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder that is kept")
    parser.add_argument(
        "--inside", action="store_true", help="score the file in the working folder: for this command itself"
    )
    options = parser.parse_args(given)
    if options.inside:
        print(json.dumps(score()))
        return
    os.environ.update(ALONE)  # before anything starts its threads
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.work or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "data" / "registered").exists():
            train(folder, options.train)
        simulate(folder / FILE, options.records)
        measure(folder, options.rounds)


if __name__ == "__main__":
    main()
