"""The table of a grid as people read it: a page of Markdown, and flat rows for a CSV."""

from collections.abc import Mapping, Sequence
from typing import Any

from flows.grid.cells import Grid
from flows.reports import tables
from pipeline.base.escaping import in_markdown

COLUMNS = {
    "recall": "recall",
    "fpr": "FPR",
    "f1_balanced": "F1 1:1",
    "seen_f1": "seen F1",
    "seen_fpr": "seen FPR",
    "auroc": "AUROC",
    "auroc_macro": "AUROC macro",
    "recall_at_1pct": "recall at own 1 % FPR",
    "recall_at_01pct": "at own 0.1 %",
}
DEPLOYED = ("recall", "fpr", "f1_balanced", "seen_f1", "seen_fpr")
BY_ATTACK = ("recall", "auroc", "recall_at_1pct", "recall_at_01pct")
NOT_KNOWN = "-"
Row = Mapping[str, Any]


def flat(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One level of columns, the same for every row: mean, sd and n of each figure, and the realised rates."""
    names = list(dict.fromkeys(name for row in rows for name in row["figures"]))
    levels = sorted({rate["threshold"] for row in rows for rate in row["realised"]})
    return [_flat(row, names, levels) for row in rows]


def _flat(row: Row, names: Sequence[str], levels: Sequence[str]) -> dict[str, Any]:
    plain = ("design", "configuration", "seeds", "cells", "done", "n_benign", "n_attack")
    worst, realised = row["worst"] or {}, {rate["threshold"]: rate for rate in row["realised"]}
    figures = {f"{name}_{key}": row["figures"].get(name, {}).get(key) for name in names for key in ("mean", "sd", "n")}
    rates = {
        f"{name}_{key}": realised.get(name, {}).get(key)
        for name in levels
        for key in ("nominal", "fpr", "low", "high", "n")
    }
    own = {name: row[name] for name in plain}
    return own | figures | {"worst": worst.get("name"), "worst_auroc": worst.get("auroc")} | rates


def markdown(table: Mapping[str, Any], grid: Grid) -> str:
    """The page: for each design its results, its attacks or families, and which configuration is ahead."""
    failed = [{**cell, "error": cell["error"].replace("\n", " / ")} for cell in table["failures"]]
    designs = [part for design in grid.designs for part in _design(table, grid, design)]
    return "\n\n".join(filter(None, ["# Benchmark", _about(grid), *designs, _titled("Failed", failed)])) + "\n"


def _design(table: Mapping[str, Any], grid: Grid, design: str) -> list[str]:
    rows, pairs, few = (
        [row for row in table[key] if row["design"] == design] for key in ("rows", "pairs", "not_counted")
    )
    seeds = [_seed(row, found) for row in rows for found in row["by_seed"]]
    rates = [_rate(row, rate) for row in rows for rate in row["realised"]]
    attacks = [_part(row, name, figures) for row in rows for name, figures in row["by_attack"].items()]
    return [
        f"## {in_markdown(design)}",
        _mix(grid, design),
        tables.markdown([_standing(row) for row in rows]),
        _few(few, grid),
        _titled("At the deployed threshold, each seed", seeds),
        _titled("Realised benign false positive rates", rates),
        _titled("By attack or family", attacks),
        _titled("Paired differences", [_pair(pair) for pair in pairs]),
    ]


def _about(grid: Grid) -> str:
    level, threshold = 100 * grid.settings.level, grid.settings.threshold
    return (
        f"Mean ± standard deviation over seeds {', '.join(map(str, grid.seeds))}. Recall, false positive rate (FPR) "
        f"and F1 are those of the deployed alarms at {threshold}. F1 is that of as many attacks as benign records, "
        "where flagging everything has 0.667. Recall at an own FPR is another thing: its threshold is read from the "
        "test records themselves, so it measures the ranking alone. "
        f"All intervals hold with {level:g} %. Those of realised rates are Wilson's. Those of paired differences are "
        "corrected resampled t intervals over seeds. They are not corrected for the number of comparisons, and they "
        "hold for other splits of these records, not for other records. "
        f"`{NOT_KNOWN}`: not known."
    )


def _mix(grid: Grid, design: str) -> str:
    mix = grid.settings.designs[design].mix
    weights = ", ".join(f"{in_markdown(attack)} {count:,}" for attack, count in mix.items())
    return f"Unseen classes are weighted as {weights}." if weights else ""


def _standing(row: Row) -> dict[str, Any]:
    worst = row["worst"]
    columns = {"configuration": row["configuration"], "cells": f"{row['done']}/{row['cells']}"}
    columns |= {"n benign / unseen": f"{_whole(row['n_benign'])} / {_whole(row['n_attack'])}"}
    figures = {title: _figure(row, name) for name, title in COLUMNS.items()}
    return columns | figures | {"worst": f"{worst['name']} {worst['auroc']:.4f}" if worst else NOT_KNOWN}


def _figure(row: Row, name: str) -> str:
    return _spread(row["figures"].get(name))


def _spread(found: Mapping[str, Any] | None) -> str:
    if not found:
        return NOT_KNOWN
    return f"{found['mean']:.4f}" + (f" ± {found['sd']:.4f}" if found["sd"] is not None else "")


def _whole(value: int | None) -> str:
    return NOT_KNOWN if value is None else f"{value:,}"


def _seed(row: Row, found: Row) -> dict[str, Any]:
    own = {"configuration": row["configuration"], "seed": found["seed"]}
    return own | {COLUMNS[name]: f"{found[name]:.4f}" if name in found else NOT_KNOWN for name in DEPLOYED}


def _rate(row: Row, rate: Row) -> dict[str, Any]:
    realised = NOT_KNOWN if rate["fpr"] is None else f"{100 * rate['fpr']:.2f} %"
    return {
        "configuration": row["configuration"],
        "nominal": f"{100 * rate['nominal']:g} %",
        "realised": realised,
        "interval": f"{100 * rate['low']:.2f} to {100 * rate['high']:.2f} %",
        "n": rate["n"],
        "as promised": f"{rate['within']} of {rate['told']}" if rate["told"] else NOT_KNOWN,
    }


def _part(row: Row, name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    own = {"configuration": row["configuration"], "attack or family": name, "n": round(figures["n"]["mean"])}
    return own | {COLUMNS[key]: _spread(figures.get(key)) for key in BY_ATTACK}


def _pair(pair: Row) -> dict[str, Any]:
    bounds = NOT_KNOWN if pair["low"] is None else f"{pair['low']:+.4f} to {pair['high']:+.4f}"
    return {
        "figure": COLUMNS[pair["figure"]],
        "first": pair["first"],
        "second": pair["second"],
        "first - second": f"{pair['mean']:+.4f}",
        "interval": bounds,
        "seeds": pair["n"],
        "ahead": pair["ahead"],
    }


def _few(few: Sequence[Row], grid: Grid) -> str:
    names = ", ".join(f"{in_markdown(part['name'])} ({part['n']})" for part in few)
    return f"Not counted, as fewer than {grid.settings.minimum} test records bear the name: {names}." if names else ""


def _titled(title: str, rows: Sequence[Row]) -> str:
    return f"**{title}**\n\n{tables.markdown(rows)}" if rows else ""
