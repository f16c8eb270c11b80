"""The grid of experiments that benchmark.yaml describes: types and limits of its settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pipeline import config
from pipeline.settings.base import OPTIONAL, Bounds, Count, Level, Names, Seed, Shape, Threshold, Values

BENCHMARK = Path("benchmark.yaml")

Word = Annotated[str, Bounds(pattern="^[a-z0-9_]+$")]  # part of the name of an experiment


@dataclass(frozen=True)
class Design(Shape):
    """Which records a grid reads, and which attacks nothing is fitted on; see ``flows.grid.cells``.

    Attributes:
        records: their place below the path of the grid.
        unseen: attacks that nothing is fitted on, in one cell.
        leave_out: families that nothing is fitted on, each in a cell of its own.
        mix: attack -> its number of records in the population that the figures are weighted to.
        overrides: settings of the stages by their dotted names.

    Raises:
        ValueError: it has both kinds of unseen attacks or none, or ``mix`` names a seen one.
    """

    records: str
    unseen: Names = field(default=(), metadata=OPTIONAL)
    leave_out: Names = field(default=(), metadata=OPTIONAL)
    mix: Mapping[str, Count] = field(default_factory=dict, metadata=OPTIONAL)
    overrides: Values = field(default_factory=dict, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.unseen) == bool(self.leave_out):
            raise ValueError("either unseen names attacks or leave_out names families, not both")
        if absent := sorted(set(self.mix) - set(self.unseen)):
            raise ValueError(f"mix: {', '.join(absent)} is not among unseen")


@dataclass(frozen=True)
class Benchmark(Shape):
    """A grid of experiments: designs x seeds x configurations; see ``flows.benchmark``.

    Attributes:
        path: the folder that the records of every design lie below.
        seeds: of the splits and of both fits.
        threshold: whose alarms the table shows.
        minimum: test records that an attack or a family needs to count.
        level: of the intervals of paired differences and of realised rates.
        designs: by name.
        configurations: name -> settings of the stages by their dotted names.
    """

    path: str
    seeds: Annotated[tuple[Seed, ...], Bounds(min_length=1)]
    threshold: Threshold
    minimum: Count
    level: Level
    designs: Annotated[Mapping[Word, Design], Bounds(min_length=1)]
    configurations: Annotated[Mapping[Word, Values], Bounds(min_length=1)]


def load(path: Path = BENCHMARK) -> Benchmark:
    """The grid that ``path`` describes.

    Raises:
        ConfigError: the file is absent, or a key is unknown, of the wrong type or out of its limits.
    """
    return build(config.read(path), str(path))


def build(given: Mapping[str, Any], where: str = str(BENCHMARK)) -> Benchmark:
    """The grid that ``given``, the content of benchmark.yaml, describes; errors as above."""
    return config.checked(Benchmark, dict(given), "benchmark", where)
