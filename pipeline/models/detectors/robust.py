"""The ensemble for rows that nobody has labelled."""

from collections.abc import Mapping
from typing import Any, Final

from pipeline.models.detectors.ensemble import Ensemble

MEMBERS: Final[Mapping[str, Mapping[str, Any]]] = {"isolation_forest": {}, "peeled": {"detector": "gmm"}}


class Robust(Ensemble):
    """An ensemble of members that a few attacks among their rows hardly change.

    One attack among the rows is enough for a nearest neighbour to find every attack like it benign. An isolation forest
    looks at few rows at once; a mixture follows the density of the rows that the forest finds least strange
    (``Peeled``). Attacks that look like benign rows, as a port scan does, mislead both.

    Args:
        features: Z.
        members: detectors by name, each with its settings.
        parts: how many parts the rows are left out in, to measure the scores of members.
        seed: of the parts.
    """

    def __init__(
        self,
        features: int,
        members: Mapping[str, Mapping[str, Any]] | None = None,
        parts: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(features, MEMBERS if members is None else members, parts, seed)
