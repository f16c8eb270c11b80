"""What preprocess says of the contexts of records."""

from collections.abc import Mapping, Sequence

from pipeline.preprocessing.context.past import late_sentence
from pipeline.stages.reports.report import Report


def say_too_few(benign: Mapping[str, int], least: int, report: Report) -> None:
    """No record gets a context: the benign records of a split that could have one are fewer than ``least``."""
    found = ", ".join(f"{n:,} in {split}" for split, n in benign.items())
    report.say(
        f"The recent past of hosts is left out. It takes {least} benign records with a time and addresses in each of "
        f"{', '.join(benign)}; there are {found}"
    )


def say_contexts(known: int, late: int, windows: Sequence[float], report: Report) -> None:
    """How many records have one, and how many come late."""
    seconds = ", ".join(f"{window:g}" for window in windows)
    report.say(f"{known:,} records have a context: what their hosts did in the {seconds} s before them")
    if late:
        report.say(late_sentence(late, windows[-1]))
