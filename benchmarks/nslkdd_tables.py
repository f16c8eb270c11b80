"""What one run of ``benchmarks.nslkdd`` found, and the tables of many runs."""

import itertools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

KINDS = ("grand", "radon")
PUBLISHED = {0.05: 93.7, 0.1: 94.3, 0.15: 94.4, 0.2: 94.4}  # the better of GRAnD-VAE and GRAnD-NF, AUROC in %


@dataclass(frozen=True)
class Result:
    """One run: ranking on the test rows, records/s of its training steps, and what it found among the training rows.

    Attributes:
        per_cpu: training records per CPU-second. Ours count updates and validation too, those of ssad steps alone.
        pseudo: share of the training rows that ended as anomalous, and of these the share that are attacks.
        kept: the epoch whose weights were judged, and how many epochs there were.
        updates: on which these weights have trained, and those that were taken back.
        error: what stopped it, if anything.
    """

    auroc: float
    auprc: float
    speed: float | None = None
    per_cpu: float | None = None
    pseudo: tuple[float, float] | None = None
    kept: tuple[int, int] | None = None
    updates: tuple[int, int] | None = None
    error: str | None = None


def markdown(results: dict[str, dict[float, list[Result]]], contaminations: list[float]) -> Iterator[str]:
    """Both metrics, then speed, what the updates found, and what stopped."""
    head = f"| system | {' | '.join(f'{100 * each:g} %' for each in contaminations)} |\n"
    head += f"|---|{'---:|' * len(contaminations)}"
    for metric in ("auroc", "auprc"):
        yield f"\n{metric.upper()} in %, mean ± standard deviation over the seeds\n\n{head}"
        for name, row in results.items():
            cells = [spread([100 * getattr(each, metric) for each in row[c]]) for c in contaminations]
            yield f"| {name} | {' | '.join(cells)} |"
        if metric == "auroc":
            yield f"| published, best of GRAnD | {' | '.join(str(PUBLISHED.get(c, '')) for c in contaminations)} |"
    yield "\n| system | epoch kept | of | updates seen | undone | marked anomalous | of these attacks |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, row in results.items():
        yield f"| {name} | {' | '.join(learnt(list(itertools.chain.from_iterable(row.values()))))} |"
    yield "\n| system | records/s, median of all runs | records per CPU-second | stopped by an error |"
    yield "|---|---:|---:|---|"
    for name, row in results.items():
        runs = list(itertools.chain.from_iterable(row.values()))
        speeds = (_median([run.speed for run in runs]), _median([run.per_cpu for run in runs]))
        errors = [run.error for run in runs if run.error]
        stopped = f"{len(errors)} of {len(runs)}: {errors[0]}" if errors else ""
        yield f"| {name} | {' | '.join(speeds)} | {stopped} |"
    yield from _ratios(results)


def _ratios(results: dict[str, dict[float, list[Result]]]) -> Iterator[str]:
    for kind in KINDS:
        mine, theirs = results.get(f"{kind}, confidence", {}), results.get(f"{kind} of ssad 0.1.3", {})
        pairs = [(a.speed, b.speed) for c in theirs for a, b in zip(mine[c], theirs[c], strict=True)]
        ratios = [a / b for a, b in pairs if a and b]
        if len(ratios) > 1:
            low, middle, high = statistics.quantiles(ratios)
            quartiles = f"quartiles {low:.1f} to {high:.1f}, n = {len(ratios)}"
            yield f"\n{kind}: {middle:.1f} times the records/s of ssad ({quartiles})"


def learnt(runs: list[Result]) -> list[str]:
    """Epoch kept, epochs, updates seen and undone, as ranges over the runs; what the last update marked."""
    kept = [run.kept for run in runs if run.kept]
    seen = [run.updates for run in runs if run.updates]
    shares = [run.pseudo for run in runs if run.pseudo]
    marked = (
        [f"{100 * np.mean([a for a, _ in shares]):.1f} %", _percent([b for _, b in shares])] if shares else ["", ""]
    )
    return [_range([pair[i] for pair in pairs]) for pairs in (kept, seen) for i in (0, 1)] + marked


def _range(values: list[int]) -> str:
    """``3``, or ``3 to 9``."""
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _median(values: list[float | None]) -> str:
    known = [value for value in values if value]
    return f"{statistics.median(known):,.0f}" if known else ""


def _percent(shares: list[float]) -> str:
    known = [share for share in shares if not np.isnan(share)]  # NaN where nothing was marked
    return f"{100 * statistics.mean(known):.0f} %" if known else ""


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"
