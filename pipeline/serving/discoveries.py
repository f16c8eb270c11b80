"""The batch decision: which records of a file are alarms, so that few of these alarms are false.

A threshold bounds the share of the benign records that raise an alarm. Where attacks are rare, most alarms are false
all the same. The procedure of Benjamini and Hochberg bounds the share of the false ones among the alarms of a batch:
with ``level`` 0.1, at most 10 % of them are false in expectation. A record's alarm then depends on the others.

It holds for split-conformal p-values of benign records that are independent of each other (Bates, Candes, Lei, Romano,
Sesia, "Testing for outliers with conformal p-values", Annals of Statistics, 2023, theorem 2). For models of folds
nothing is proven; a test by simulation shows the same.
"""

import math
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts.tables import TableWriter, row_groups
from pipeline.base.errors import ConfigError
from pipeline.calibration.surprisal import Floats

FIELD = pa.field("discovery", pa.bool_())  # null where no batch decision was asked for


def asked(level: float) -> float | None:
    """The level of a batch decision, None where 0 asks for none.

    Raises:
        ConfigError: it is no share.
    """
    if not 0 <= level < 1:
        raise ConfigError(f"false_discovery: {level:g} is no share of alarms, allowed is 0 or more, below 1")
    return level or None


def discoveries(p_value: Floats, level: float) -> NDArray[np.bool_]:
    """(m,) which records of a batch are alarms, by their p-values, (m,).

    Source: Benjamini, Hochberg, "Controlling the false discovery rate" (1995).
    """
    from scipy.stats import false_discovery_control

    return false_discovery_control(p_value) <= level if p_value.size else np.zeros(0, bool)


def fewest(records: int, calibration: int, level: float) -> int:
    """How many records of a batch must be beyond all ``calibration`` records before any is an alarm.

    No p-value is below 1 / (n + 1), so that k of m records at it need m / (k (n + 1)) <= ``level``.
    """
    return max(1, math.ceil(records / (level * (calibration + 1)) * (1 - 1e-12)))


def mark(table: Path, p_value: Floats, level: float, calibration: int) -> dict[str, Any]:
    """Fill the column ``discovery`` of a table of scored records, and tell what came of it.

    Args:
        table: its path.
        p_value: (m,) of its records, in their order.
        level: largest share of false alarms among all, in expectation.
        calibration: records that the p-values come from.
    """
    found, start = discoveries(p_value, level), 0
    groups = row_groups(table)
    first = next(groups)
    with TableWriter(table, first.schema) as writer:
        for group in chain([first], groups):
            said = pa.array(found[start : start + group.num_rows])
            writer.write(group.set_column(group.schema.get_field_index(FIELD.name), FIELD, said))
            start += group.num_rows
    return {"level": level, "discoveries": int(found.sum()), "fewest": fewest(len(found), calibration, level)}
