"""Records -> findings; a breached hard expectation stops the line."""

from pipeline import artifacts, expectations, figures
from pipeline.config import Validate
from pipeline.stages import launch
from pipeline.stages.report import Report

GROUPS_AT_ONCE = 4


def validate(settings: Validate, report: Report) -> None:
    """Audit the records in batches."""
    limits = expectations.Limits(**settings.model_dump())
    findings = expectations.audit(artifacts.row_groups(artifacts.RECORDS), limits)
    report.json("summary", findings.summary())
    report.json("feature_ranges", findings.ranges)
    report.figure("expectations", findings.figure(report.subtitle))
    findings.check()


if __name__ == "__main__":
    launch("validate", Validate, validate)

__all__ = ["figures"]
