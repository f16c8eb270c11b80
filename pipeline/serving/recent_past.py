"""The recent past of hosts as a model reads it: the context of records that come together, and its score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts.files import read_bytes, read_json
from pipeline.artifacts.paths import model_files
from pipeline.artifacts.tables import column_names, row_groups
from pipeline.base.errors import ArtifactError
from pipeline.models.arrays.parts import scored_where_known
from pipeline.preprocessing.context.past import Matrix, columns, context
from pipeline.preprocessing.context.talks import Mask, Talks, can_have, reads, talks_of, unknown
from pipeline.serving import bundle_parts
from pipeline.serving.bundle_parts import Description, Weights
from pipeline.serving.two_stage import Detector

ID: Final = "record_id"


def files_of(stem: Path) -> dict[str, bytes]:
    """The files of the detector of contexts; none where the records have no context, or an older version trained."""
    paths = model_files(stem)
    if not all(path.exists() for path in paths) or read_json(paths[0]).get("detector") == "none":
        return {}
    return {path.name: read_bytes(path) for path in paths}


@dataclass(frozen=True)
class RecentPast:
    """Which past a model looks back on, and the detector of what it finds there.

    Attributes:
        windows: in seconds.
        remembered: past records, at most.
        detector: fitted on benign contexts.
        usual: ``low``, ``middle`` and ``high`` of benign contexts, (F,) each: 98 of 100 lie from low to high; empty for
            an older model.
    """

    windows: Sequence[float]
    remembered: int
    detector: Detector = field(repr=False)
    usual: Mapping[str, Matrix] = field(default_factory=dict, repr=False)

    @classmethod
    def of_files(cls, folder: Path, files: Mapping[str, bytes]) -> Self | None:
        """That of a bundle whose files these are; None where it reads no context.

        Raises:
            ArtifactError: a file is damaged, or its parts do not fit each other.
        """
        if bundle_parts.file_names(bundle_parts.CONTEXT)[0] not in files:
            return None
        path = folder / bundle_parts.CONTEXT
        return cls.load(path, *bundle_parts.decoded(path, files, bundle_parts.CONTEXT))

    @classmethod
    def load(cls, path: Path, about: Description, weights: Weights) -> Self:
        """What stage 2 stored.

        Raises:
            ArtifactError: the parts do not fit each other.
        """
        try:
            windows, remembered = [float(each) for each in about["windows"]], int(about["remembered"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path}: does not say which past it looks back on: {error!r}") from error
        names = columns(windows)
        if tuple(about.get("columns", ())) != names:
            raise ArtifactError(f"{path}: was fitted on other columns than its windows give")
        usual = {name: np.array(values, np.float32) for name, values in about.get("usual", {}).items()}
        if any(values.shape != (len(names),) for values in usual.values()):
            raise ArtifactError(f"{path}: says what is usual of other columns than its windows give")
        return cls(windows, remembered, bundle_parts.detector(path, len(names), about, weights), usual)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what it finds."""
        return columns(self.windows)

    @property
    def about(self) -> dict[str, Any]:
        """Which past it looks back on, as it is stored with contexts."""
        return {"windows": [*self.windows], "remembered": self.remembered}

    def context(self, talks: Talks, known: Mask, since: int = 0) -> Matrix:
        """(n - since, F) context of the last of n records that come together; NaN for those that are not known."""
        return context(talks, known, self.windows, self.remembered, since)

    def scores(self, x: Matrix) -> NDArray[np.float32]:
        """(n,) scores of contexts, (n, F), NaN where a record has none."""
        return scored_where_known(self.detector.scores, x)

    def scores_of(self, records: pa.Table) -> NDArray[np.float32]:
        """(n,) scores of all records that there are, NaN where one lacks a time or an address; never of a sample."""
        can = can_have(records.column_names)
        return self.scores(self.context(*(talks_of(records) if can else unknown(records.num_rows))))

    def scores_in(self, path: Path, ids: NDArray[np.uint64]) -> NDArray[np.float32] | None:
        """(n,) scores of some of the records of a table, by their ids, (n,): their past is that of all records there.

        None where the records lack a time or an address.

        Raises:
            ArtifactError: the table is absent, or lacks a record.
        """
        names = column_names(path)
        if not can_have(names):
            return None
        parts = [(table.column(ID).to_numpy(), *talks_of(table)) for table in row_groups(path, [ID, *reads(names)])]
        known = np.concatenate([part for _, _, part in parts])
        x = self.context(Talks.joined(*(part for _, part, _ in parts)), known)
        all_ids = np.concatenate([part for part, _, _ in parts])
        order = np.argsort(all_ids)
        at = order[np.searchsorted(all_ids[order], ids).clip(max=len(all_ids) - 1)]
        if (all_ids[at] != ids).any():
            raise ArtifactError(f"{path}: holds other records than the model was trained on; run `dvc repro`")
        return self.scores(x[at])
