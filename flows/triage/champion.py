"""What the present champion says of the records that people have marked.

A process of its own scores them, because a model takes seconds to load and a few hundred megabytes::

    python -m flows.triage.champion      prints one object of JSON

The raw columns that stand in the log are scored. They have no past of their own, so a model that reads what the hosts
did before scores them without.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipeline.artifacts import paths

if TYPE_CHECKING:
    from pipeline.artifacts.labels import Label
    from pipeline.serving.bundle import Bundle

AGAIN: Final = 30.0  # seconds before marks that are new are scored
OLD: Final = 600.0  # and before the champion is asked again where nothing is new
LONGEST: Final = 300.0  # seconds that the process may take
Marked = tuple[int, int]  # size of the log and time of its last change


class Now(NamedTuple):
    """What the champion says of a record.

    Attributes:
        words: whether it raises an alert, and whether it has learnt the record.
        p_value: of the record.
        tone: ``good`` where that is what people said, else ``bad``; "" where they were unsure.
    """

    words: str
    p_value: float
    tone: str


@dataclass(frozen=True)
class Judged:
    """What the champion says of all marks.

    Attributes:
        sentence: which version scored them, or why none did.
        records: record id -> what it says.
        absent: record id -> why it says nothing.
    """

    sentence: str = ""
    records: Mapping[int, Now] = field(default_factory=dict)
    absent: Mapping[int, str] = field(default_factory=dict)


class Champion:
    """Asks the champion where somebody wants to see it, and remembers the answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answer, self._asked, self._of = Judged(), float("-inf"), (0, 0)
        self._busy = False

    def now(self) -> Judged:
        """The last answer. The champion is asked in the background where there is something new."""
        with self._lock:
            due = self._busy or self._is_due()
            if due and not self._busy:
                self._busy = True
                threading.Thread(target=self._ask, args=(_stamp(),), daemon=True).start()
            if due:
                return Judged("The champion scores the marks now; load this page again.", self._answer.records)
            return self._answer

    def _is_due(self) -> bool:
        stamp, age = _stamp(), time.monotonic() - self._asked
        return bool(stamp[0] > 1) and (age > OLD or (stamp != self._of and age > AGAIN))

    def _ask(self, stamp: Marked) -> None:
        answer = asked()
        with self._lock:
            self._answer, self._asked, self._of, self._busy = answer, time.monotonic(), stamp, False


def _stamp() -> Marked:
    try:
        found = paths.LABELS.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def asked() -> Judged:
    """The answer of a process of its own."""
    command = [sys.executable, "-m", "flows.triage.champion"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        return parsed(json.loads(done.stdout.strip().rpartition("\n")[2]))
    except subprocess.TimeoutExpired:
        return Judged("The champion took too long to score the marks.")
    except (ValueError, KeyError, TypeError):
        last = done.stderr.strip().rpartition("\n")[2]
        return Judged(f"The champion cannot be asked: {last or 'it gave no answer'}.")


def parsed(answer: Mapping[str, Any]) -> Judged:
    """What the process printed."""
    records = {int(key, 16): Now(*each) for key, each in answer["records"].items()}
    return Judged(answer["sentence"], records, {int(key, 16): why for key, why in answer["absent"].items()})


# In the process.


def main() -> int:
    """Score the marks; prints the answer and returns the exit code."""
    from pipeline import config
    from pipeline.artifacts import labels
    from pipeline.base.errors import FlowsculptError
    from pipeline.serving import loading, silence
    from pipeline.settings.alerts import Alerts

    try:
        version, bundle = loading.load("champion")
        alerts = config.load(Alerts)
        silence.require(bundle, version.number, alerts)
        answer = judged([*labels.last(labels.read()).values()], bundle, alerts.level)
        answer["sentence"] = f"Version {version.number} is the champion and has scored these marks.{answer['sentence']}"
    except FlowsculptError as error:
        answer = {"sentence": f"The champion cannot be asked: {error}", "records": {}, "absent": {}}
    print(json.dumps(answer))
    return 0


def judged(marks: "Sequence[Label]", bundle: "Bundle", level: str) -> dict[str, Any]:
    """What a model says of labelled records, as JSON can hold it.

    Args:
        marks: one for each record.
        bundle: the model.
        level: a record that exceeds this threshold is an alert.
    """
    import numpy as np

    from pipeline.serving.alerts.building import level_of

    names = {column.name for column in bundle.columns}
    known = [label for label in marks if names <= label.columns.keys()]
    absent = {label.record_id: "other columns" if label.columns else "no columns kept" for label in marks}
    for label in known:
        del absent[label.record_id]
    records: dict[str, tuple[str, float, str]] = {}
    if known:
        table = {
            column.name: _values([label.columns[column.name] for label in known], column.categorical)
            for column in bundle.columns
        }
        said = bundle.predict(table)
        name = level_of(bundle.calibration.thresholds, level)
        learnt = np.isin(np.array([label.record_id for label in known], dtype=np.uint64), bundle.used)
        for row, label in enumerate(known):
            alarm = bool(said.flagged[name][row])
            words = (f"alert at {name}" if alarm else "quiet") + ", learnt" * bool(learnt[row])
            tone = ("good" if alarm == (label.verdict == "confirmed") else "bad") if label.decides else ""
            records[f"{label.record_id:016x}"] = (words, float(said.p_value[row]), tone)
    past = " It scored them without what their hosts did before." if bundle.looks_back is not None else ""
    return {"sentence": past, "records": records, "absent": {f"{each:016x}": why for each, why in absent.items()}}


def _values(values: Sequence[float | str], is_word: bool) -> Any:
    import numpy as np

    if is_word:
        return np.array([str(each) for each in values], dtype=object)
    return np.array([float(each) for each in values])


if __name__ == "__main__":
    os.nice(10)  # pages come first
    sys.exit(main())
