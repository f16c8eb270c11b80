"""What the registry says of one version of a model."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.serving import own_model
from pipeline.settings.tracking import SHIPPED

# Tags that say where a version comes from.
DATASET, COMMIT, DVC_LOCK = (f"flowsculpt.{tag}" for tag in ("dataset", "git_commit", "dvc_lock"))


@dataclass(frozen=True)
class Version:
    """One version of a model.

    Attributes:
        number: 1 for the first.
        run_id: the pipeline run that made it.
        digest: of its bundle.
        tags: all that is written on it.
        aliases: by which it is known now.
        model: its name in the registry.
    """

    number: int
    run_id: str
    digest: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    model: str = SHIPPED

    def __str__(self) -> str:
        """As messages call it; the model is named where it has a name of its own."""
        return f"version {self.number}{own_model.suffix(self.model)}"
