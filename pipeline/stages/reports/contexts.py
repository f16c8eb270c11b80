"""What preprocess says of the contexts of records."""

from collections.abc import Sequence

from pipeline.stages.reports.report import Report


def say_contexts(known: int, late: int, windows: Sequence[float], report: Report) -> None:
    """How many records have one, and how many come late."""
    seconds = ", ".join(f"{window:g}" for window in windows)
    report.say(f"{known:,} records have a context: what their hosts did in the {seconds} s before them")
    if late:
        report.say(
            f"{late:,} records lie more than {windows[-1]:g} s behind an earlier one of their file: a clock was set "
            "back, or logs are mixed. In the context each counts at its own time"
        )
