"""The table of a grid: figures of each design and configuration over seeds, and who is ahead on the same splits.

A figure that a cell does not have is not known, and counts for nothing. In a design that leaves out one family after
the other, a seed's figure is the mean over the families; there is no figure that pools the scores of different models.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

from flows.grid.cells import Cell, Grid
from flows.grid.paired import difference
from pipeline.evaluation.metrics import wilson

Metrics = Mapping[str, Any]
Figures = dict[str, float]
COMPARED = ("auroc", "auroc_macro", "recall_at_1pct", "recall_at_01pct", "f1_balanced")
LEVELS = {"recall_at_1pct": "0.01", "recall_at_01pct": "0.001"}


@dataclass(frozen=True)
class Result:
    """What became of a cell.

    Attributes:
        cell: which.
        commit: of its experiment, "" where it failed.
        metrics: what evaluate wrote, None where it failed.
        error: why it failed.
    """

    cell: Cell
    commit: str = ""
    metrics: Metrics | None = None
    error: str = ""


def table(grid: Grid, results: Sequence[Result]) -> dict[str, Any]:
    """The whole table as JSON has it: ``rows``, ``pairs``, ``not_counted`` and ``failures``."""
    rows, pairs, passed_over = [], [], []
    for design in grid.designs:
        groups = {
            name: [each for each in results if (each.cell.design, each.cell.configuration) == (design, name)]
            for name in grid.configurations
        }
        passed_over += _passed_over(grid, design, [each for group in groups.values() for each in group])
        seeds = {name: _by_seed(grid, design, group) for name, group in groups.items()}
        rows += [_row(grid, design, name, group, seeds[name]) for name, group in groups.items()]
        pairs += [pair for two in combinations(grid.configurations, 2) for pair in _pairs(grid, design, two, seeds)]
    failures = [{"cell": each.cell.name, "error": each.error} for each in results if each.error]
    return {"rows": rows, "pairs": pairs, "not_counted": passed_over, "failures": failures}


# One cell.


def figures(metrics: Metrics, mix: Mapping[str, int], threshold: str) -> Figures:
    """The figures of a cell that are known.

    With a mix of classes, AUROC and recall r are means over the classes, weighted by it, and the balanced F1 is
    2r / (r + f + 1) at a false positive rate of f: what they would be on records of that composition.

    Args:
        metrics: of evaluate.
        mix: attack -> weight; none: as the records are.
        threshold: whose alarms count.
    """
    unseen, seen = metrics["unseen"], metrics["seen"]
    at, at_seen = (section.get("thresholds", {}).get(threshold, {}) for section in (unseen, seen))
    found = {
        "auroc": unseen.get("auroc"),
        "auroc_macro": unseen.get("auroc_macro"),
        **{name: unseen.get("recall_at_fpr", {}).get(fpr, {}).get("recall") for name, fpr in LEVELS.items()},
        **{name: at.get(name) for name in ("f1_balanced", "recall", "fpr", "f1", "precision")},
        "alerts_per_million_benign": at.get("alerts_per_million_benign"),
        "seen_f1": at_seen.get("f1"),
        "seen_f1_balanced": at_seen.get("f1_balanced"),
        "seen_fpr": at_seen.get("fpr"),
    }
    if mix:
        found |= _mixed(unseen, mix, threshold, at.get("fpr"))
    return {name: float(value) for name, value in found.items() if value is not None}


def _mixed(unseen: Metrics, mix: Mapping[str, int], threshold: str, fpr: float | None) -> dict[str, float | None]:
    recall = _weighted(unseen.get("recall_by_attack", {}), mix, lambda each: each[threshold]["recall"])
    f1 = None if recall is None or fpr is None else 2 * recall / (recall + fpr + 1)
    at = {name: unseen.get("recall_at_fpr", {}).get(level, {}) for name, level in LEVELS.items()}
    return {
        "auroc": _weighted(unseen.get("auroc_by_attack", {}), mix, lambda each: each["auroc"]),
        **{name: _weighted(each.get("by_attack", {}), mix, lambda each: each["recall"]) for name, each in at.items()},
        "recall": recall,
        "f1_balanced": f1,
        "f1": None,  # at the natural prevalence, which a mix is not
        "precision": None,
    }


def _weighted(by_attack: Mapping[str, Any], mix: Mapping[str, int], value: Callable[[Any], float]) -> float | None:
    """The mean over the classes of a mix that are there."""
    there = [attack for attack in mix if attack in by_attack]
    total = sum(mix[attack] for attack in there)
    return sum(mix[attack] * value(by_attack[attack]) for attack in there) / total if total else None


# All seeds of a design and a configuration.


def _by_seed(grid: Grid, design: str, group: Sequence[Result]) -> dict[int, Figures]:
    """The figures of each seed all of whose cells are done."""
    mix, threshold = grid.settings.designs[design].mix, grid.settings.threshold
    made: dict[int, Figures] = {}
    for seed in grid.seeds:
        counted = [each for each in group if each.cell.seed == seed and _counts(grid, each)]
        if not counted or any(each.metrics is None for each in counted):
            continue
        cells = [figures(each.metrics or {}, mix, threshold) for each in counted]
        made[seed] = _over_families(cells) if counted[0].cell.left_out else cells[0]
    return made


def _over_families(cells: Sequence[Figures]) -> Figures:
    """The mean over the families, of the figures that each has."""
    names = set.intersection(*(set(each) for each in cells)) - {"auroc_macro"}
    means = {name: fmean(each[name] for each in cells) for name in names}
    return {"auroc_macro" if name == "auroc" else name: value for name, value in means.items()}


def _counts(grid: Grid, result: Result) -> bool:
    """Whether a cell counts: one that failed does, as its seed then lacks a figure."""
    return not result.cell.left_out or result.metrics is None or _n(result.metrics) >= grid.settings.minimum


def _n(metrics: Metrics) -> int:
    return int(metrics["unseen"].get("n_attack", 0))


def _passed_over(grid: Grid, design: str, group: Sequence[Result]) -> list[dict[str, Any]]:
    """The families and attacks with too few test records, or none, and the largest number that a cell has of them."""
    most: Counter[str] = Counter()
    for each in group:
        if each.metrics:
            sizes = {
                name: int(found["n"]) for name, found in each.metrics["unseen"].get("recall_by_attack", {}).items()
            }
            sizes = {name: sizes.get(name, 0) for name in each.cell.unseen}
            for name, n in ({each.cell.left_out: sum(sizes.values())} if each.cell.left_out else sizes).items():
                most[name] = max(most[name], n)
    few = {name: n for name, n in most.items() if n < grid.settings.minimum}
    return [{"design": design, "name": name, "n": n} for name, n in sorted(few.items())]


def _row(
    grid: Grid, design: str, configuration: str, group: Sequence[Result], seeds: Mapping[int, Figures]
) -> dict[str, Any]:
    done = [
        each.metrics for each in group if each.metrics is not None and _counts(grid, each) and each.cell.seed in seeds
    ]
    unseen = [each["unseen"] for each in done]
    names = list(dict.fromkeys(name for each in seeds.values() for name in each))
    return {
        "design": design,
        "configuration": configuration,
        "seeds": len(seeds),
        "cells": len(group),
        "done": sum(each.metrics is not None for each in group),
        "n_benign": round(fmean(each["n_benign"] for each in unseen)) if unseen else None,
        "n_attack": round(sum(map(_n, done)) / max(len(seeds), 1)) if done else None,
        "figures": {name: _spread([each[name] for each in seeds.values() if name in each]) for name in names},
        "by_seed": [{"seed": seed, **found} for seed, found in seeds.items()],
        "worst": _worst(grid, group),
        "by_attack": _by_attack(grid, group),
        "realised": _realised(grid, group),
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation; that of one value is not known."""
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None, "n": len(values)}


def _by_attack(grid: Grid, group: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Recall and AUROC of each attack, or family that is left out, with enough test records."""
    found: dict[str, dict[str, list[float]]] = {}
    for each in group:
        if each.metrics is not None:
            for name, values in _parts(grid, each.cell, each.metrics["unseen"]):
                for key, value in values.items():
                    found.setdefault(name, {}).setdefault(key, []).append(value)
    return {name: {key: _spread(values) for key, values in keys.items()} for name, keys in sorted(found.items())}


def _parts(grid: Grid, cell: Cell, unseen: Metrics) -> Iterable[tuple[str, Figures]]:
    if cell.left_out:
        parts = {cell.left_out: {"n": unseen.get("n_attack", 0), "auroc": unseen.get("auroc")}}
        at = {name: unseen.get("recall_at_fpr", {}).get(level, {}) for name, level in LEVELS.items()}
        recalls = {name: {cell.left_out: each} for name, each in at.items()}
    else:
        parts = {name: dict(found) for name, found in unseen.get("auroc_by_attack", {}).items()}
        at = {name: unseen.get("recall_at_fpr", {}).get(level, {}) for name, level in LEVELS.items()}
        recalls = {name: each.get("by_attack", {}) for name, each in at.items()}
    alarms = _deployed(grid, cell, unseen)
    for name, part in parts.items():
        part |= {"recall": alarms.get(name)}
        part |= {key: each.get(name, {}).get("recall") for key, each in recalls.items()}
        if part["n"] >= grid.settings.minimum:
            yield name, {key: float(value) for key, value in part.items() if value is not None}


def _deployed(grid: Grid, cell: Cell, unseen: Metrics) -> dict[str, float | None]:
    """Recall at the deployed threshold, of each attack or of the family that is left out."""
    threshold = grid.settings.threshold
    if cell.left_out:
        return {cell.left_out: unseen.get("thresholds", {}).get(threshold, {}).get("recall")}
    return {name: at.get(threshold, {}).get("recall") for name, at in unseen.get("recall_by_attack", {}).items()}


def _worst(grid: Grid, group: Sequence[Result]) -> dict[str, Any] | None:
    """The attack or family with the lowest mean AUROC."""
    means = {name: keys["auroc"]["mean"] for name, keys in _by_attack(grid, group).items() if "auroc" in keys}
    name = min(means, key=means.__getitem__, default=None)
    return {"name": name, "auroc": means[name]} if name else None


def _realised(grid: Grid, group: Sequence[Result]) -> list[dict[str, Any]]:
    """For each percentile, the false positive rate that it promises and that of both test splits of all seeds.

    The families of one seed share its benign records, which are counted once.
    """
    made = []
    done = [each.metrics for each in group if each.metrics is not None and _counts(grid, each)]
    share = len({each.cell.seed for each in group if each.metrics is not None}) / max(len(done), 1)
    parts = [section for each in done for section in (each["seen"], each["unseen"])]
    for name in sorted({name for part in parts for name in part.get("thresholds", {})}):
        if re.fullmatch(r"p\d{1,2}(\.\d+)?", name):
            at = [part["thresholds"][name] for part in parts if name in part.get("thresholds", {})]
            fp, n = (
                round(share * sum(each["fp"] for each in at)),
                round(share * sum(each["fp"] + each["tn"] for each in at)),
            )
            low, high = wilson(fp, n, grid.settings.level)
            nominal = round(1 - float(name[1:]) / 100, 6)
            within = [bool(each["fpr_within"]) for each in at if each.get("fpr_within") is not None]
            bounds = {
                "fpr": fp / n if n else None,
                "low": low,
                "high": high,
                "within": sum(within),
                "told": len(within),
            }
            made.append({"threshold": name, "nominal": nominal, "fp": fp, "n": n, **bounds})
    return made


# Two configurations of a design.


def _pairs(
    grid: Grid, design: str, two: tuple[str, str], seeds: Mapping[str, Mapping[int, Figures]]
) -> Iterable[dict[str, Any]]:
    first, second = (seeds[name] for name in two)
    shares = grid.start(design)["preprocess"]["shares"]
    for figure in COMPARED:
        both = [seed for seed in grid.seeds if all(figure in each.get(seed, {}) for each in (first, second))]
        if both:
            one, other = ([each[seed][figure] for seed in both] for each in (first, second))
            ratio = shares["test_unseen"] / shares["train"]
            found = difference(one, other, ratio, grid.settings.level)
            ahead = {1: two[0], -1: two[1], 0: "nobody"}[found.sign]
            yield {"design": design, "figure": figure, "first": two[0], "second": two[1], **vars(found), "ahead": ahead}
