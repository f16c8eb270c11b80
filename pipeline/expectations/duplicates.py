"""The keys of all records, and what they tell of repeated rows: 24 bytes for each record."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.expectations.findings import Duplicates


class Keys:
    """Gathers the keys of batch after batch.

    ``add`` takes columns of (n,): ``record_id`` and ``content`` (uint64), ``row``, ``y``, and ``attack`` and
    ``source_file`` as pandas categories.
    """

    def __init__(self) -> None:
        self.names: dict[str, dict[str, int]] = {"attack": {}, "source_file": {}}
        self.parts: dict[str, list[NDArray[np.generic]]] = {}

    def add(self, keys: pd.DataFrame) -> None:
        """Keep the keys of one batch."""
        for name, column in keys.items():
            part = self._codes(str(name), column) if name in self.names else column.to_numpy()
            self.parts.setdefault(str(name), []).append(part)

    def table(self) -> pd.DataFrame:
        """All keys, with ``repeats`` (1 for the same features as an earlier record) and ``disagrees``."""
        keys = pd.DataFrame({name: np.concatenate(parts) for name, parts in self.parts.items()})
        groups = groups_of(keys["content"].to_numpy())
        keys["repeats"] = (~first_of(groups)).astype(np.int8)
        keys["disagrees"] = differs_within(groups, keys["attack"].to_numpy()).astype(np.int8)
        return keys

    def label(self, column: str, code: int) -> str:
        """The name behind a code of ``attack`` or ``source_file``."""
        return next((name for name, known in self.names[column].items() if known == code), "")

    def _codes(self, name: str, column: pd.Series) -> NDArray[np.int16]:
        known = self.names[name]
        codes = [known.setdefault(str(category), len(known)) for category in column.cat.categories]
        return np.array([*codes, -1], dtype=np.int16)[column.cat.codes.to_numpy()]  # -1 stays -1: unknown

    def audit(self, keys: pd.DataFrame) -> Duplicates:
        """Counts over the result of ``table``."""
        groups = groups_of(keys["content"].to_numpy())
        member = differs_within(groups, np.arange(len(keys)))
        repeated = np.bincount(keys["attack"].to_numpy()[keys["repeats"] == 1] + 1, minlength=len(self.names["attack"]) + 1)
        return Duplicates(
            repeated=int(keys["repeats"].sum()),
            groups=int(member.sum() - keys["repeats"].sum()),
            members=int(member.sum()),
            across_files=int(differs_within(groups, keys["source_file"].to_numpy()).sum()),
            disagreeing_labels=int(differs_within(groups, keys["y"].to_numpy()).sum()),
            disagreeing_attacks=int(keys["disagrees"].sum()),
            by_attack={name: int(repeated[code + 1]) for name, code in self.names["attack"].items() if repeated[code + 1]},
        )
