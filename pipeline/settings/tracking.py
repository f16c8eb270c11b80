"""The names under which a project keeps its runs and its model in MLflow."""

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from pipeline.settings.base import Section

SHIPPED: Final = "flowsculpt"
LONGEST: Final = 64  # characters of the name of a model, which is part of other names
LONGEST_EXPERIMENT: Final = 200  # a database of MLflow has 256
MODEL: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST - 1}}}")
EXPERIMENT: Final = re.compile(rf"[A-Za-z0-9_/]([A-Za-z0-9 ._/@+-]{{0,{LONGEST_EXPERIMENT - 2}}}[A-Za-z0-9_])?")


@dataclass(frozen=True)
class Tracking(Section):
    """Two networks in one MLflow need two names each, or they share one champion.

    Attributes:
        experiment: holds the runs of this project: letters, digits and ``_ - . / @ +`` and spaces within, up to 200.
        model: is registered by this project: letters, digits, ``_`` and ``-``, up to 64, a letter or digit first.

    Raises:
        ValueError: MLflow, or a name that holds it, would refuse one.
    """

    section: ClassVar[str] = "tracking"
    experiment: str
    model: str

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("model", self.model, MODEL, f"letters, digits, _ and -, at most {LONGEST}, a letter or digit first")
        _require(
            "experiment",
            self.experiment,
            EXPERIMENT,
            f"letters, digits, _ - . / @ + and spaces, at most {LONGEST_EXPERIMENT}, neither space nor sign at an end "
            "but / or _ at the start",
        )


def _require(key: str, name: str, allowed: re.Pattern[str], words: str) -> None:
    if not allowed.fullmatch(name):
        raise ValueError(f"{key}: allowed are {words}; given {name!r}{_nearest(name, allowed)}")


def _nearest(name: str, allowed: re.Pattern[str]) -> str:
    """The same name without what is not allowed, if that is a name."""
    found = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:LONGEST].strip("-")
    return f" (did you mean {found!r}?)" if allowed.fullmatch(found) else ""
