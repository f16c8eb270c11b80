"""The first ten minutes, which ``make run`` calls: train, promote the model, score a file that ships with the project.

::

    python -m flows.quickstart

A second call skips every stage that is up to date. A model that the gate refuses is not promoted, and the champion, if
there is one, scores in its place. The file is ``data/example/flows.csv``; see ``data/README.md`` for its origin.
"""

from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows import arguments
from flows.runtime import program, working_copy
from flows.runtime.heartbeat import heartbeat

if TYPE_CHECKING:
    from flows.reports.decisions import Outcome

EXAMPLE = Path("data/example/flows.csv")
SAME_FORMAT = ("synthetic", "cicids2017")  # data sets whose models can read the example


def main(given: Sequence[str] | None = None) -> int:
    """Run the three flows from the command line; returns the exit code."""
    arguments.parse("quickstart", given)
    return program.run("quickstart", _run)


def _run() -> str:
    working_copy.check(Path.cwd())
    with heartbeat("loading Prefect, MLflow and PyTorch"):
        from flows import promotion, training
        from flows.reports import summary
        from flows.runtime import gpu, servers, warm

    with warm.stages(Path.cwd()), servers.connected("quickstart"):
        gpu.ensure_devices()
        parent, rows = program.result(training.training(return_state=True))
        with heartbeat("promotion"):
            outcome = program.result(promotion.promotion(return_state=True))
        with heartbeat("scoring"):
            found = _found(outcome)
    return f"{summary.text(parent, rows)}\n\n{found}"


def _found(outcome: "Outcome") -> str:
    """What became of the model, what it found in the example, and what to do next."""
    from flows import score
    from pipeline.serving import loading

    judged = _judged(outcome)
    if outcome.serving is None:
        return (
            f"{judged}\nNo model serves, so nothing was scored.\n\n{_next('promote --dry-run', 'the gate in detail')}"
        )
    champion = loading.load("champion")
    ahead = _next("score YOUR_RECORDS.csv", "alarms on records of your own")
    if champion[1].dataset.partition(" ")[0] not in SAME_FORMAT:
        return f"{judged}\n\n{ahead}"
    return f"{judged}\n{score.here([EXAMPLE], model=champion)}\n\n{ahead}"


def _judged(outcome: "Outcome") -> str:
    if outcome.kind == "promoted" and outcome.candidate:
        return f"Version {outcome.candidate.number} passed the gate and is the champion."
    if outcome.kind == "unchanged" and outcome.champion:
        return f"Version {outcome.champion.number} is the champion already: nothing has changed."
    return f"{outcome.title}: {'; '.join(outcome.reasons)}."


def _next(command: str, about: str) -> str:
    """Where the page lies and which command comes next, as it can be typed here."""
    beside = Path(sys.executable).parent / "flowsculpt"
    typed = beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside.name
    return f"report    data/reports/report.html\nnext      {typed} {command}    {about}"


if __name__ == "__main__":
    sys.exit(main())
