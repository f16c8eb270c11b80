"""The ensemble for rows that nobody has labelled."""

from typing import ClassVar

from pipeline.models.arrays.ensemble import ROBUST, Members
from pipeline.models.detectors.ensemble import Ensemble


class Robust(Ensemble):
    """An ensemble of members that a few attacks among their rows hardly change.

    One attack among the rows is enough for a nearest neighbour to find every attack like it benign. An isolation forest
    looks at few rows at once; a mixture follows the density of the rows that the forest finds least strange
    (``Peeled``). Attacks that look like benign rows, as a port scan does, mislead both.

    The settings are those of ``Ensemble``.
    """

    usual: ClassVar[Members] = ROBUST
