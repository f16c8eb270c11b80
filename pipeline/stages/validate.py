"""Records -> findings; a breached hard expectation stops the line."""

from dataclasses import replace
from functools import partial
from typing import Any

from pipeline import validation
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.tables import row_groups
from pipeline.base.errors import ArtifactError
from pipeline.datasets.schema import Column
from pipeline.settings.validate import Limits
from pipeline.stages.frame import Verdict, launch
from pipeline.stages.reports.doubts import write_doubts
from pipeline.stages.reports.report import Report
from pipeline.stages.reports.validate import write_reports
from pipeline.validation import doubts


def validate(limits: Limits, report: Report) -> Verdict:
    """Audit the records in batches; the reports are written before a finding stops the line."""
    columns, attacks = _promised(read_json(paths.SOURCE))
    findings = validation.audit(row_groups(paths.RECORDS), limits, columns, attacks)
    if len(findings.trust.record_id):  # else the columns are not those of records
        read = partial(row_groups, paths.RECORDS, doubts.READS)
        doubted = doubts.Doubts.of(read, limits.doubts)
        write_doubts(doubted, read, report)
        findings = replace(findings, trust=doubted.lowered(findings.trust))
    write_reports(findings, columns, report)
    return findings.check


def _promised(source: dict[str, Any]) -> tuple[tuple[Column, ...], dict[str, tuple[str, tuple[str, ...]]]]:
    """The columns and the label vocabulary that ingest says the records have."""
    try:
        columns = tuple(Column(**column) for column in source["columns"])
        return columns, {attack: (family, ()) for attack, family in source["families"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{paths.SOURCE}: tells no columns ({error}); run `dvc repro` to make it again") from error


if __name__ == "__main__":
    launch("validate", Limits, validate)
