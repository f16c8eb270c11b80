"""A run that is logged nowhere: stages work under it where nobody asked for tracking."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.tracking.stage_run import StageRun


class Untracked(StageRun):
    """Takes whatever a stage logs, and forgets it."""

    def __init__(self) -> None:
        super().__init__("")

    @property
    def pipeline(self) -> StageRun:
        """The run of the pipeline is not logged either."""
        return self

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Forget metrics."""

    def params(self, values: Mapping[str, str]) -> None:
        """Forget settings."""

    def settings(self, values: Mapping[str, object]) -> None:
        """Forget nested settings."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Forget tags."""

    def file(self, path: Path, folder: str | None = None) -> None:
        """Forget a file, which stays on disk."""

    def dataset(self, name: str, source: str, digest: str, rows: int, columns: Mapping[str, str], context: str) -> None:
        """Forget a data set."""

    def next_step(self, name: str) -> int:
        """No step came before."""
        return 0
