"""What it costs to say why alerts are alerts, and how often the first reason is that of the full search.

    python -m benchmarks.reasons ../shared/data/cicids2017_improved [--alerts 600] [--exhaustive 150] [--seed 0]

ingest to calibrate run with the settings of ``params.yaml``, in a temporary folder. The alerts at p99 of both test
splits are explained, some drawn by the seed.

The full search scores every alert once more for each of its features, by the model of its own fold, and looks at all
benign records for the similar ones. The usual way, ``Explainer``, does neither. Between the two stands a short list:
the full search among the 16 features that differ most from similar benign records.

``ms`` is processor time of one thread for an alert. ``first`` is the share of alerts with the same first feature as the
full search; ``in five`` that of those whose first feature by the full search is among the first five. ``fall`` is how
far the score falls by the first feature that is named, as a share of the fall by that of the full search.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from benchmarks.deployed import ROOT, run, write
from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples
from pipeline.base.parallel import limit_threads
from pipeline.base.samples import joined
from pipeline.evaluation import replacement
from pipeline.models.arrays.base import Form
from pipeline.models.arrays.folds import FoldsForm
from pipeline.serving import benign
from pipeline.serving.alerts import explaining
from pipeline.serving.bundle import Bundle
from pipeline.serving.reasons import Explainer, few

STAGES = ("ingest", "preprocess", "stage1", "stage2", "calibrate")


class Found(NamedTuple):
    """What one way found of n alerts: (n, F) falls, and the milliseconds of processor time for each alert."""

    fall: NDArray[np.float64]
    ms: float


def timed(function: Callable[[], Any], n: int) -> tuple[Any, float]:
    """The result of a function, and the milliseconds of processor time for each of n alerts."""
    started = time.process_time()
    found = function()
    return found, 1000 * (time.process_time() - started) / n


def alerts(bundle: Bundle, most: int, seed: int) -> pa.Table:
    """The raw records of some of the alerts at p99 of both test splits, in the order of their ids."""
    tests = joined([read_samples(paths.PROCESSED, split) for split in ("test_seen", "test_unseen")])
    flagged = np.flatnonzero(bundle.model.predict(tests.x).flagged["p99"])
    chosen = np.random.default_rng(seed).permutation(flagged)[:most]
    names = [column.name for column in bundle.columns]
    return benign.rows_of(paths.RECORDS, np.sort(tests.record_id[chosen]), names)


def one_by_one(form: Form, x: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, F) scores of a model if one feature alone is replaced, each by scoring it."""
    if not isinstance(form, FoldsForm):
        return Form.replaced(form, x, reference)
    fold, found = form.route(x), np.zeros(x.shape, np.float32)
    for number, each in enumerate(form.models):
        rows = np.flatnonzero(fold == number)
        if len(rows):
            found[rows] = Form.replaced(each, x[rows], reference[rows])
    return found


def full(explainer: Explainer, x: NDArray[np.float32], shortlist: bool = False) -> Found:
    """The full search, or that of a short list."""

    def found() -> NDArray[np.float64]:
        known = explainer.benign.x
        distance = np.stack([np.sqrt(np.abs(known - record)).sum(1) for record in x])
        like = np.argsort(distance, axis=1, kind="stable")[:, : replacement.NEIGHBOURS]
        reference = np.median(known[like], axis=1).astype(np.float32)
        reference = few(x, reference) if shortlist else reference
        model = explainer.bundle.model
        models = {"detector": model.detector, "head": model.head}
        scores = {name: one_by_one(each.form, x, reference) for name, each in models.items() if each is not None}
        scoring = replacement.Scoring(explainer.scoring.scores, explainer.scoring.fuse, lambda *_: scores)
        return scoring.falls(x, reference)

    return Found(*timed(found, len(x)))


def quick(explainer: Explainer, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, F) falls as ``Explainer`` finds them."""
    _, reference = replacement.referred(explainer.benign.x, x)
    return explainer.scoring.falls(x, reference)


def line(name: str, found: Found, truth: NDArray[np.float64], ms: float) -> str:
    """A line of the table."""
    best, n = truth.argmax(1), np.arange(len(truth))
    order = np.argsort(-found.fall, axis=1, kind="stable")
    first, five = (order[:, 0] == best).mean(), (order[:, :5] == best[:, None]).any(1).mean()
    fall = (truth[n, order[:, 0]] / truth[n, best]).mean()
    return f"| {name} | {ms:.2f} | {100 * first:.1f} % | {100 * five:.1f} % | {fall:.3f} |"


def report(most: int, exhaustive: int, seed: int) -> None:
    """Print the table of the model in the working folder."""
    bundle = Bundle.of_project()
    explainer, records = Explainer(bundle), alerts(bundle, most, seed)
    n, scores = records.num_rows, bundle.predict(records).scores
    explainer.explain(records.slice(0, 50))
    _, ms = timed(lambda: explaining.columns(list(explainer.explain(records, scores=scores))), n)
    _, once = timed(lambda: bundle.predict(records), n)
    x = bundle.x(records)[np.random.default_rng(seed).permutation(n)[:exhaustive]]
    whole, short = full(explainer, x), full(explainer, x, shortlist=True)
    print(f"{n} alerts, {len(bundle.features.columns)} features; one score of a record: {once:.2f} ms")
    print("| way | ms | first | in five | fall |\n|---|---:|---:|---:|---:|")
    print(line(f"full search, {len(x)} alerts", whole, whole.fall, whole.ms))
    print(line("16 features that differ most", short, whole.fall, short.ms))
    print(line("as alerts are explained", Found(quick(explainer, x), 0.0), whole.fall, ms), flush=True)


def main() -> None:
    """Train, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="of records; without it, the embedded ones are taken")
    parser.add_argument("--dataset", default="cicids2017")
    parser.add_argument("--alerts", type=int, default=600)
    parser.add_argument("--exhaustive", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    limit_threads(1)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    source = {"ingest.dataset": given.dataset, "ingest.path": str(given.folder.resolve())} if given.folder else {}
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        write(params, **source)
        Path("data/raw").mkdir(parents=True, exist_ok=True)
        run(*STAGES)
        report(given.alerts, given.exhaustive, given.seed)


if __name__ == "__main__":
    sys.exit(main())
