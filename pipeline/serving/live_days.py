"""What a version made of live traffic, day by day, beside the MLflow run that made the version.

::

    versions/NUMBER/live/records          records that it scored on a day
    versions/NUMBER/live/alarms/p99       share of these that exceeds a threshold
    versions/NUMBER/live/promised/p99     share that would exceed it if all were benign
    versions/NUMBER/live/drift/score      distance of the score, as a drift check of that day found it
    versions/NUMBER/live/drift/features   share of features that have moved far

Only whole days count, so a figure never changes. A day without records has none. ``data/scored/days`` holds the day on
which a version was looked at last, so that MLflow is asked, and imported, once a day.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from pipeline.artifacts.files import read_json, write_json
from pipeline.base import escaping
from pipeline.base.errors import ArtifactError, FlowsculptError
from pipeline.evaluation.drift import Change
from pipeline.serving import own_model, scored
from pipeline.serving.version import Version
from pipeline.settings.retraining import Retraining
from pipeline.tracking import by_day
from pipeline.tracking.by_day import DAY

ROOM: Final = "days"
FAULTS: Final = (
    FlowsculptError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)  # of disk or summary
_log = escaping.log(__name__)


def log(version: Version, now: float) -> list[int]:
    """Write all whole days that are not written yet; returns these. A fault is said, and stops nothing.

    Args:
        version: that scored.
        now: in seconds since 1970.
    """
    done: list[int] = []
    with _only_said(version):
        done += _written(version, now)
    return done


@contextmanager
def _only_said(version: Version) -> Iterator[None]:
    """These figures are for people to look at: scoring and the drift check go on without them."""
    try:
        yield
    except FAULTS as error:
        _log.warning(
            "what version %d made of live traffic was not written to MLflow: %s: %s",
            *(version.number, type(error).__name__, error),
        )


def _written(version: Version, now: float) -> list[int]:
    stamp, today = own_model.scored() / ROOM / f"{version.number}.json", int(now // DAY)
    if _stamped(stamp) >= today:
        return []
    done = by_day.days(version.run_id, _name(version, "records"))
    first = (max(done) + 1) * DAY if done else 0
    found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for key, summary in scored.since(first).items():
        day = int(scored.time_of(summary, key) // DAY)
        if summary.get("version") == version.number and day < today:
            found[day].append(summary)
    points = [(_name(version, name), value, day) for day, of_day in found.items() for name, value in _figures(of_day)]
    by_day.write(version.run_id, points)
    write_json(stamp, {"day": today})
    return sorted(found)


def _stamped(path: Path) -> int:
    """The day on which all before it was written; 0 where that is not known."""
    with suppress(ArtifactError, KeyError, TypeError, ValueError):
        return int(read_json(path)["day"])
    return 0


def log_drift(version: Version, changes: Sequence[Change], settings: Retraining, now: float) -> None:
    """Write how far the score has moved, and which share of the features moved far, as a drift check found.

    A fault is said, and stops nothing.

    Args:
        version: that was watched.
        changes: of the score, then of the features; nothing is written where nothing was compared.
        settings: of the drift check.
        now: in seconds since 1970.
    """
    if changes:
        with _only_said(version):
            by_day.write(version.run_id, _of_drift(version, changes, settings, int(now // DAY)))


def _of_drift(
    version: Version, changes: Sequence[Change], settings: Retraining, day: int
) -> list[tuple[str, float, int]]:
    figures, features = {"drift/score": changes[0].distance}, changes[1:]
    if features:
        large = sum(change.exceeds(settings.alpha, settings.large) for change in features)
        figures["drift/features"] = large / len(features)
    return [(_name(version, name), value, day) for name, value in figures.items()]


def _name(version: Version, name: str) -> str:
    return f"versions/{version.number}/live/{name}"


def _figures(summaries: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    records = sum(each["records"] for each in summaries)
    counts = shares(summaries)
    return [("records", records), *((f"{kind}/{level}", share) for (kind, level), share in counts.items())]


def shares(summaries: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Share of the records that exceeds each threshold, and share that would if all were benign.

    Returns:
        (``alarms`` or ``promised``, threshold) -> share.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for summary in summaries:
        for level, each in summary["alarms"].items():
            counts["alarms", level] += each["alarms"]
            counts["promised", level] += each.get("expected", 0.0)
    records = sum(each["records"] for each in summaries)
    return {name: count / max(records, 1) for name, count in counts.items()}
