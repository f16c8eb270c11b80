"""What the run of a whole pipeline shows, so that two of them can be compared: settings, figures, data and a summary.

The settings come from all of params.yaml. They are logged and never used: a stage works with its own section alone.
"""

from collections.abc import Mapping
from typing import Any

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.base.escaping import in_markdown
from pipeline.tracking import PRESET, StageRun

FIGURES = {"auroc": "auroc", "tpr_at_fpr_1pct": "recall_at_1pct_fpr", "tpr_at_fpr_01pct": "recall_at_01pct_fpr"}
SECTIONS = ("seen", "unseen")


def settings(run: StageRun) -> None:
    """Log the settings of all stages, and the name of the preset where there is one."""
    params = config.read()
    run.settings({name: params[name] for name in config.STAGES if isinstance(params.get(name), dict)})
    if isinstance(params.get("preset"), str):
        run.tags({PRESET: params["preset"]})


def results(run: StageRun) -> None:
    """Log what the artefacts on disk say of this pipeline run, whether its stages ran or were skipped."""
    if not paths.METRICS.is_file():
        return
    metrics, source, params = (
        read_json(paths.METRICS),
        read_json(paths.SOURCE),
        config.read(),
    )
    run.metrics(headlines(metrics), step=0)
    columns = {column["name"]: "string" if column.get("categorical") else "double" for column in source["columns"]}
    where = _where(params["ingest"]["path"])
    run.dataset(params["ingest"]["dataset"], where, source["digest"], source["records"], columns, "training")
    run.tags({"mlflow.note.content": " ".join(map(in_markdown, sentences(metrics, source, params)))})
    if paths.PAGE.is_file():
        run.file(paths.PAGE)


def _where(path: str | list[str]) -> str:
    return path if isinstance(path, str) else ", ".join(path)


def headlines(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The figures of ``metrics.json`` that are asked for first; one that the data do not define is left out.

    For each threshold they are ``unseen.recall.p99``, ``seen.recall.p99`` and ``fpr.p99``, the share of all benign test
    records that it flags. Then come ``seen.auroc``, ``seen.recall_at_1pct_fpr``, ``seen.recall_at_01pct_fpr`` and the
    same of ``unseen``, which are read from the ranking of the test records.
    """
    deployed = {
        f"{name}.recall.{threshold}": at["recall"]
        for name in SECTIONS
        for threshold, at in metrics[name]["thresholds"].items()
    }
    ranked = {f"{name}.{to}": metrics[name][key] for name in SECTIONS for key, to in FIGURES.items()}
    realised = {f"fpr.{name}": level["fpr"] for name, level in metrics["guarantee"]["levels"].items()}
    return {name: float(value) for name, value in (deployed | realised | ranked).items() if value is not None}


def sentences(metrics: Mapping[str, Any], source: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[str, str, str]:
    """What was trained, what it finds, and at what rate it raises false alarms."""
    kind = "synthetic records" if source["synthetic"] else f"records of {source['dataset']}"
    stage1, stage2, calibrate = (params[name] for name in ("stage1", "stage2", "calibrate"))
    models = f"encoder {stage1['encoder']}, detector {stage2['detector']}, head {stage2['head']}"
    threshold = params["evaluate"]["threshold"]
    unseen, seen = (_found(metrics[name], threshold) for name in ("unseen", "seen"))
    level = metrics["guarantee"]["levels"].get(threshold, {})
    asked = f" (it was set for {_share(level['nominal'])})" if level.get("nominal") is not None else ""
    return (
        f"Trained on {source['records']:,} {kind}: {models}, scores joined by {calibrate['fusion']}.",
        f"At {threshold} it finds {unseen} of the attacks that it never saw, and {seen} of those that it learnt from.",
        f"It flags {_share(level.get('fpr'))} of the benign test records{asked}.",
    )


def _found(section: Mapping[str, Any], threshold: str) -> str:
    area = "undefined" if section["auroc"] is None else f"{section['auroc']:.3f}"
    return f"{_share(section['thresholds'].get(threshold, {}).get('recall'))} (AUROC {area})"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{100 * value:.3g} %"
