"""Records -> findings; a breached hard expectation stops the line."""

from typing import Any

from pipeline import artifacts, expectations, figures
from pipeline.config import Validate
from pipeline.datasets.schema import Column
from pipeline.errors import ArtifactError
from pipeline.stages import Verdict, launch
from pipeline.stages.report import Report


def validate(settings: Validate, report: Report) -> Verdict:
    """Audit the records in batches; what was found is written before it stops the line."""
    limits = _limits(settings)
    columns, attacks = _promised(artifacts.read_json(artifacts.SOURCE))
    findings = expectations.audit(artifacts.row_groups(artifacts.RECORDS), limits, columns, attacks)
    report.json("summary", findings.summary())
    report.json("confidence_intervals_epoch_0", findings.intervals())
    shown = [finding for finding in findings.results if finding.unexpected or not finding.passed]
    report.figure(
        "expectations",
        figures.expectations(
            [f"{finding.subject}: {finding.text}" for finding in shown],
            [finding.share for finding in shown],
            [finding.allowed for finding in shown],
            [finding.hard for finding in shown],
            subtitle=report.subtitle,
        ),
    )
    _shortcuts(findings.shortcuts, report)
    for name, text in expectations.data_docs(findings, report.subtitle).items():
        artifacts.write_bytes(report.folder / "docs" / name, text.encode())
    broken = f"{len(findings.breaches)} hard and {len(findings.warnings)} soft broken"
    report.say(f"{len(findings.results)} expectations, {broken}")
    return findings.check


def _limits(settings: Validate) -> expectations.Limits:
    budgets = settings.model_dump()
    return expectations.Limits(**budgets | {"shortcuts": expectations.ShortcutLimits(**budgets["shortcuts"])})


def _shortcuts(found: expectations.Shortcuts, report: Report) -> None:
    """``shortcuts.json``, the table of attacks by features behind it, and the figure."""
    report.json("shortcuts", {"means": expectations.meanings(found)} | found.summary())
    report.table("shortcuts", found.rows())
    table = [row for row in found.table() if row["feature"] is not None]
    report.figure(
        "shortcuts",
        figures.shortcuts(
            {row["attack"]: (row["feature"], row["auroc"]) for row in table},
            {row["attack"]: (row["feature_without_known"], row["auroc_without_known"]) for row in table},
            found.limits.attack_auroc,
            subtitle=report.subtitle,
        ),
    )


def _promised(source: dict[str, Any]) -> tuple[tuple[Column, ...], dict[str, tuple[str, tuple[str, ...]]]]:
    """The columns and the label vocabulary that ingest says the records have."""
    try:
        columns = tuple(Column(**column) for column in source["columns"])
        return columns, {attack: (family, ()) for attack, family in source["families"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{artifacts.SOURCE}: tells no columns ({error}); run `dvc repro` to make it again"
        ) from error


if __name__ == "__main__":
    launch("validate", Validate, validate)
