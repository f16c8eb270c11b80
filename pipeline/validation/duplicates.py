"""The keys of all records, about 24 bytes for each, and which rows repeat others."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.validation.findings import Duplicates, Example


class Groups:
    """Rows with equal content; ``order`` lists them group by group, each group from its first row to its last."""

    def __init__(self, content: NDArray[np.uint64]) -> None:
        self.order = np.argsort(content, kind="stable")
        ordered = content[self.order]
        is_first = np.ones(len(ordered), dtype=bool)
        is_first[1:] = ordered[1:] != ordered[:-1]
        self.starts = np.flatnonzero(is_first)
        self.sizes = np.diff(self.starts, append=len(ordered))

    def repeats(self) -> NDArray[np.bool_]:
        """(n,) whether a row has the content of an earlier one."""
        mask = np.ones(len(self.order), dtype=bool)
        mask[self.order[self.starts]] = False
        return mask

    def differs(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(n,) whether ``values`` (n,) differ within the group of a row."""
        mask = np.zeros(len(self.order), dtype=bool)
        if len(mask):
            ordered = values[self.order]
            mixed = np.maximum.reduceat(ordered, self.starts) != np.minimum.reduceat(ordered, self.starts)
            mask[self.order] = np.repeat(mixed, self.sizes)
        return mask


KEYS = {
    "record_id": np.uint64,
    "content": np.uint64,
    "row": np.int32,
    "y": np.int8,
    "attack": np.int16,
    "source_file": np.int16,
}


class Keys:
    """Gathers what is needed of each record to compare it with all others."""

    def __init__(self) -> None:
        self.codes: dict[str, dict[str, int]] = {"attack": {}, "source_file": {}}
        self.parts = [pd.DataFrame({name: np.empty(0, kind) for name, kind in KEYS.items()})]

    def add(self, labels: pd.DataFrame, content: NDArray[np.uint64]) -> None:
        """Keep the keys of a batch: the frame of ``frames.labels`` and the row hashes (n,) of its features."""
        part = {
            "record_id": labels["record_id"].fillna(0).to_numpy(np.uint64),
            "content": content,
            "row": labels["row"].fillna(0).to_numpy(np.int32),
            "y": labels["y"].fillna(-1).to_numpy(np.int8),
        }
        self.parts.append(pd.DataFrame(part | {name: self._codes(labels[name]) for name in self.codes}))

    def frame(self) -> pd.DataFrame:
        """All keys, beside them how the copies of a record differ.

        ``repeats`` is 1 where all features are those of an earlier record, ``disagrees`` where a copy has another
        attack; ``contradicts`` is true where a copy has the other label.
        """
        keys = pd.concat(self.parts, ignore_index=True)
        groups = Groups(keys["content"].to_numpy())
        keys["repeats"] = groups.repeats().astype(np.int64)
        keys["disagrees"] = groups.differs(keys["attack"].to_numpy()).astype(np.int64)
        keys["contradicts"] = groups.differs(keys["y"].to_numpy())
        return keys

    def audit(self, keys: pd.DataFrame) -> Duplicates:
        """Counts over the result of ``frame``."""
        groups = Groups(keys["content"].to_numpy())
        repeats = keys["repeats"].to_numpy() == 1
        members = int(groups.sizes[groups.sizes > 1].sum())
        disagrees = keys["disagrees"].to_numpy() == 1
        return Duplicates(
            repeated=int(repeats.sum()),
            groups=members - int(repeats.sum()),
            members=members,
            across_files=int(groups.differs(keys["source_file"].to_numpy()).sum()),
            disagreeing_labels=int(keys["contradicts"].sum()),
            disagreeing_attacks=int(disagrees.sum()),
            by_attack=self._counts(keys["attack"][repeats]),
            disagreeing_by_attack=self._counts(keys["attack"][disagrees]),
        )

    def example(self, keys: pd.DataFrame, column: str, position: int) -> Example:
        """Where the record at ``position`` lies, and its ``column``."""
        record = keys.iloc[position]
        value = self._name(column, int(record[column])) if column in self.codes else int(keys[column].iloc[position])
        return Example(self._name("source_file", int(record["source_file"])), int(record["row"]), value)

    def _counts(self, attacks: pd.Series) -> dict[str, int]:
        counts = zip(*np.unique(attacks.to_numpy(), return_counts=True), strict=True)
        return {self._name("attack", int(code)): int(count) for code, count in counts}

    def _codes(self, column: pd.Series) -> NDArray[np.int16]:
        known = self.codes[str(column.name)]
        codes = [known.setdefault(str(name), len(known)) for name in column.cat.categories]
        return np.array([*codes, -1], dtype=np.int16)[column.cat.codes.to_numpy()]  # -1, unknown, stays -1

    def _name(self, column: str, code: int) -> str:
        return next((name for name, known in self.codes[column].items() if known == code), "unknown")
