"""Which records have a label, and what becomes of those that have none."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa

from pipeline.base.errors import DataError
from pipeline.datasets.schema import NO_ATTACK, UNLABELLED

Labels = Literal["auto", "full", "partial", "none"]
Found = Literal["full", "partial", "none"]


def without_labels(records: pa.Table) -> pa.Table:
    """The same records, as if no label had been read."""
    n = records.num_rows
    values = {
        "y": pa.nulls(n, pa.int8()),
        "attack": _word(UNLABELLED, n),
        "family": _word(UNLABELLED, n),
        "attempted": pa.nulls(n, pa.bool_()),
    }
    for name, value in values.items():
        at = records.schema.get_field_index(name)
        records = records.set_column(at, records.schema.field(at), value)
    return records


def presumed_benign(records: pa.Table) -> pa.Table:
    """The same records, with y = 0 where there is no label: nothing calls them an attack. Their name stays."""
    at = records.schema.get_field_index("y")
    return records.set_column(at, records.schema.field(at), records.column("y").fill_null(0))


def found(attacks: Mapping[str, int]) -> Found:
    """What the records have: labels, labels for a part of them, or none.

    Args:
        attacks: name of each attack, ``benign`` or ``unlabelled`` -> records.
    """
    without = attacks.get(UNLABELLED, 0)
    if not without:
        return "full"
    return "none" if without == sum(attacks.values()) else "partial"


def require(asked: Labels, files: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse records without a label where every record must have one.

    Args:
        asked: the setting.
        files: name of a file -> name of each attack -> records.

    Raises:
        DataError: with the files.
    """
    without = {name: counts[UNLABELLED] for name, counts in files.items() if counts.get(UNLABELLED)}
    if asked == "full" and without:
        named = ", ".join(f"{name} ({n:,})" for name, n in list(without.items())[:3])
        more = f" and {len(without) - 3} more files" if len(without) > 3 else ""
        raise DataError(
            f"{sum(without.values()):,} records have no label: {named}{more}; ingest.labels is full; set it to auto or "
            "partial to count them as benign, or label them"
        )


def sentence(attacks: Mapping[str, int]) -> str:
    """What was found, for a person."""
    counts = Counter(attacks)
    n, without = counts.total(), counts[UNLABELLED]
    attacked = n - sum(counts[name] for name in NO_ATTACK)
    if without == n:
        return f"none of {n:,} records has a label: the model learns what this traffic looks like, without attacks"
    missing = f"; {without:,} have no label and count as benign" if without else ""
    if not attacked:
        return f"all labels of {n:,} records say benign: the model learns without attacks{missing}"
    return f"{attacked:,} of {n:,} records are labelled as attacks{missing}"


def _word(text: str, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([text]))
