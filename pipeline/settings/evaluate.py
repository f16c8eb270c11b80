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
    """What stands for attacks where none is known: altered benign records, simulated attacks, attacks of a file.

    Attributes:
        records: how many altered records are made, and how many simulated ones; 0 for none.
        seed: of the draws.
        file: labelled records whose attacks are drills too, as the data set has them; empty for none.
    """

    records: CountOrZero
    seed: Seed
    file: str


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
