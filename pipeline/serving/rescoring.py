"""What another version of the model says of a file that was scored before: which alerts are new, gone or the same."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.tables import read_table
from pipeline.serving import own_model, scored
from pipeline.serving.alerts import stored
from pipeline.serving.counts import counted

T = TypeVar("T")


def beside(before: Mapping[str, Any] | None, after: T) -> T:
    """The summary ``after`` with what has changed since ``before``, also on the disk; what is no summary as it is.

    Raises:
        ArtifactError: the alerts of one of them cannot be read.
    """
    if before is None or not isinstance(after, dict):
        return after
    old, new = _alerts(before), _alerts(after)
    counts = {"new": len(new - old), "gone": len(old - new), "same": len(new & old)}
    after["rescored"] = {"version": before["version"], **counts}
    path = own_model.scored() / "summaries" / f"{scored.key_of(after)}.json"
    write_json(path, {**read_json(path), "rescored": after["rescored"]})
    return after


def sentence(rescored: Mapping[str, Any]) -> str:
    """What has changed, for people."""
    return (
        f"beside version {rescored['version']}: {counted(rescored['new'], 'alert is', 'alerts are')} new, "
        f"{counted(rescored['gone'], 'is', 'are')} gone, {counted(rescored['same'], 'is', 'are')} the same"
    )


def _alerts(summary: Mapping[str, Any]) -> set[int]:
    """Ids of the records of a file that are alerts."""
    path = own_model.scored() / stored.ROOM / f"{scored.key_of(summary)}.parquet"
    return {*read_table(path, ["record_id"]).column(0).to_pylist()}
