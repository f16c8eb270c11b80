"""What a training run leaves to read: its stages and figures, as pages in Prefect and as text."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flows.reports import tables
from flows.runtime.own_names import artefact_key
from flows.runtime.shown import create_markdown_artifact, create_table_artifact
from pipeline import tracking
from pipeline.base.escaping import fenced

HEADLINES = ("auroc", "auprc")
HEADLINES_AT_THRESHOLD = ("recall", "fpr")


@dataclass(frozen=True)
class Row:
    """One line of the result table.

    Attributes:
        stage: its name.
        state: what DVC did with it.
        seconds: how long that took, DVC's own work included.
        run: the MLflow run that made its outputs, empty where the store holds none.
        page: the address of that run below the address of the MLflow UI.
    """

    stage: str
    state: Literal["ran", "cached"]
    seconds: float
    run: str
    page: str


def rows_of(parent: str, seconds: Mapping[str, float]) -> list[Row]:
    """A line for each stage under a parent run; ``seconds`` are those that each took."""
    known = tracking.children(parent)
    return [
        Row(name, child.state, round(seconds[name], 1), child.run_id or "", tracking.page(child.run_id or ""))
        for name, child in ((name, known.get(name, tracking.Child(name, "ran", None))) for name in seconds)
    ]


def headlines() -> list[dict[str, object]]:
    """For each section of the metrics and each threshold: ranking figures, recall and realised false positive rate.

    Where no test record is an attack: the alarms of each threshold on the test records.
    """
    from pipeline.artifacts import paths

    if not paths.METRICS.is_file():
        return []
    metrics = json.loads(paths.METRICS.read_text())
    if "traffic" in metrics:
        return _of_traffic(metrics["traffic"])
    return [
        {"section": section, "threshold": threshold}
        | {name: body.get(name) for name in HEADLINES}
        | {name: figures.get(name) for name in HEADLINES_AT_THRESHOLD}
        for section, body in metrics.items()
        if isinstance(body, dict)
        for threshold, figures in body.get("thresholds", {}).items()
    ]


def _of_traffic(traffic: Mapping[str, Any]) -> list[dict[str, object]]:
    return [
        {"section": "test traffic", "threshold": name}
        | {key: at[key] for key in ("alarms", "share", "promised", "per_day")}
        for name, at in traffic["thresholds"].items()
    ]


def sentence() -> str:
    """The figures in a line for each section of the metrics, its first threshold alone."""
    first: dict[object, Mapping[str, object]] = {}
    for row in headlines():
        if "alarms" in row:
            return (
                f"learnt without attacks; {tables.cell(row['share'])} of the test records raise an alarm at "
                f"{row['threshold']}, where {tables.cell(row['promised'])} was promised"
            )
        first.setdefault(row["section"], row)
    return "\n\n".join(
        f"{row['section']} attacks: AUROC {tables.cell(row['auroc'])}, recall {tables.cell(row['recall'])} "
        f"at a realised benign FPR of {tables.cell(row['fpr'])} ({row['threshold']})"
        for row in first.values()
    )


def publish(rows: Sequence[Row], headlines: Sequence[Mapping[str, object]], error: Exception | None) -> None:
    """Put the tables, and what went wrong, on the page of the flow run."""
    create_table_artifact(
        [vars(row) for row in rows], key=artefact_key("training-stages"), description="Stages of this run"
    )
    both = [tables.markdown([vars(row) for row in rows]), tables.markdown(headlines)]
    trouble = [fenced(str(error))] if error else []
    create_markdown_artifact("\n\n".join(["# Training", *trouble, *both]), key=artefact_key("training-summary"))


def text(parent: str, rows: Sequence[Row]) -> str:
    """The tables for a terminal, and where to look further."""
    both = [
        tables.columns(
            [{"stage": row.stage, "state": row.state, "seconds": row.seconds, "run": row.run} for row in rows]
        ),
        tables.columns(headlines()),
    ]
    return "\n\n".join(table for table in [*both, _where(parent)] if table)


def _where(parent: str) -> str:
    program = Path(sys.executable).parent / "mlflow"
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    uri = tracking.tracking_uri().replace(f"sqlite:///{Path.cwd().resolve()}/", "sqlite:///")
    return "\n".join(
        [
            "results   data/reports/metrics.json, data/reports/",
            f"runs      MLFLOW_DISABLE_TELEMETRY=true {shown} ui --workers 1 --backend-store-uri {uri}",
            f"          then open http://127.0.0.1:5000/{tracking.page(parent)}",
        ]
    )
