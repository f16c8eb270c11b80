"""Records -> findings; a breached hard expectation stops the line."""

from pipeline import artifacts, expectations, figures
from pipeline.config import Validate
from pipeline.stages import Verdict, launch
from pipeline.stages.report import Report


def validate(settings: Validate, report: Report) -> Verdict:
    """Audit the records in batches; what was found is written before it stops the line."""
    limits = expectations.Limits(**settings.model_dump())
    findings = expectations.audit(artifacts.row_groups(artifacts.RECORDS), limits)
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
    expectations.build_docs(findings, report.folder / "docs", report.subtitle)
    broken = f"{len(findings.breaches)} hard and {len(findings.warnings)} soft broken"
    report.say(f"{len(findings.results)} expectations, {broken}")
    return findings.check


if __name__ == "__main__":
    launch("validate", Validate, validate)
