"""Test scores -> metrics."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pipeline.settings.base import Bounds, CountOrZero, Names, OpenShare, Rounds, Section, Seed, Shape

OpenShares = Annotated[tuple[OpenShare, ...], Bounds(min_length=1)]


@dataclass(frozen=True)
class Bootstrap(Shape):
    """Of the AUROC.

    Attributes:
        rounds: how often the records are drawn again.
        seed: of the draws.
    """

    rounds: Rounds
    seed: Seed


@dataclass(frozen=True)
class Figures(Shape):
    """What each section of metrics.json states beside its rates.

    Attributes:
        fprs: benign FPRs at which recall is read.
        prevalences: shares of attacks in the traffic at which precision is stated.
        bootstrap: of the AUROC.
    """

    fprs: OpenShares
    prevalences: OpenShares
    bootstrap: Bootstrap


@dataclass(frozen=True)
class Drills(Shape):
    """Altered benign records that stand for attacks where none is known; see ``pipeline.evaluation.drills``.

    Attributes:
        records: how many are made; 0 for none.
        seed: of the draw.
    """

    records: CountOrZero
    seed: Seed


@dataclass(frozen=True)
class Evaluate(Figures, Section):
    """What is measured on the test records, and shown.

    Attributes:
        groups: record columns by which false alarms are shown, as far as the records have them.
    """

    section: ClassVar[str] = "evaluate"
    threshold: str
    groups: Names
    latent_map: Literal["pca", "umap"]
    latent_map_rows: Annotated[int, Bounds(ge=10)]
    drills: Drills
