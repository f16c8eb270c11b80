"""What is kept for how long; ``flowsculpt prune`` removes the rest."""

from dataclasses import dataclass
from typing import ClassVar

from pipeline.settings.base import CountOrZero, Section


@dataclass(frozen=True)
class Retention(Section):
    """Days, and numbers of runs, for which things are kept; 0 keeps all of a kind.

    What the champion or a registered version needs stays, however old it is.

    Attributes:
        scored_days: since a file was scored; its tables and alerts go then. That it was scored stays known.
        quarantine_days: since a file came into quarantine.
        fetched_days: since a copy of a registered version, or of an object of a store, was fetched or used last. It is
            fetched again when it is needed.
        log_days: since a log of a server was last written, and since a flow run ended that Prefect's server forgets.
        runs: pipeline runs whose files in MLflow are kept, the newest. Metrics, settings and tags of all runs stay.
        run_days: since a run began whose files in MLflow are kept.
        dvc: whether DVC's cache is cleared of what no branch, tag, experiment or registered version names.
    """

    section: ClassVar[str] = "retention"
    scored_days: CountOrZero
    quarantine_days: CountOrZero
    fetched_days: CountOrZero
    log_days: CountOrZero
    runs: CountOrZero
    run_days: CountOrZero
    dvc: bool
