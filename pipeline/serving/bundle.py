"""A trained detector as one folder: all that scoring needs, and which records may not judge it.

::

    features.json    features.safetensors      records -> features
    encoder.json     encoder.safetensors       features -> latent, and its margin
    detector.json    detector.safetensors      latent -> score
    head.json        head.safetensors          latent -> score of a supervised head, if there is one
    context.json     context.safetensors       the recent past of hosts -> score, where records have times and addresses
    thresholds.json  thresholds.safetensors    the scores -> verdict
    used.safetensors                           record ids of train, val and calibration
    benign.json      benign.safetensors        a few benign train records, which alerts are compared with
    attacks.json     attacks.safetensors       a few of each attack that was learnt, likewise
    canaries.json    canaries.safetensors      a few records that it decided on, which it is asked about again
    bundle.json                                format, data set, raw columns, an example, the sha256 of each file
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from pipeline.artifacts import paths
from pipeline.artifacts.models import encode_model
from pipeline.base.errors import ArtifactError
from pipeline.base.parallel import limit_threads
from pipeline.base.samples import CONTEXT, transposed
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.named_thresholds import Names, group_names
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import Column
from pipeline.datasets.units import FLOWS
from pipeline.preprocessing.features import Features
from pipeline.serving import attacks, benign, bundle_parts, canaries, gathered, manifest, record_columns
from pipeline.serving.bundle_parts import MODELS, USED
from pipeline.serving.canaries import Canaries
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.recent_past import RecentPast
from pipeline.serving.record_columns import Records
from pipeline.serving.two_stage import RECORDS_AT_ONCE, TwoStage

# What parts raise that have the right names and hold something else.
UNFIT: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Bundle:
    """Raw records in, decision out; made by ``of_project`` or ``load``.

    Attributes:
        dataset: name of the data set that it was trained on.
        columns: the raw record columns that it reads.
        used: (k,) ids of the records that it was fitted on, ascending: they may not judge it.
        features: records to features.
        model: features to a decision.
        sealed: the files that it is stored as.
        past: what it makes of the recent past of hosts; None where it reads none.
    """

    dataset: str
    columns: tuple[Column, ...]
    used: NDArray[np.uint64] = field(repr=False)
    features: Features = field(repr=False)
    model: TwoStage = field(repr=False)
    sealed: HashedFolder = field(repr=False)
    past: RecentPast | None = field(default=None, repr=False)

    @classmethod
    def of_project(cls, data: Path = paths.DATA) -> Self:
        """The model that the last training left under ``data``.

        Raises:
            ArtifactError: a stage has not run, or its outputs do not fit those of another one.
        """
        made = cls.of_sealed(gathered.of_project(data), data / paths.FEATURES.parent.relative_to(paths.DATA))
        return made._with_canaries(canaries.of_project(made, data))

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", digest: str = "") -> Self:
        """The model that ``save`` stored.

        Args:
            folder: where it lies.
            device: where it is to score: ``cpu``, ``cuda`` or ``cuda:1``.
            digest: that it must have, which is compared before anything is parsed; "": any.

        Raises:
            TrustError: it has another digest.
            ArtifactError: a byte has changed, a file is missing, added or of another kind, or the parts do not fit.
        """
        sealed = manifest.load(folder, digest)
        try:
            return cls.of_sealed(sealed, folder, device)
        except UNFIT as error:  # its bytes are those that were written; another version wrote them, or somebody else
            raise ArtifactError(
                f"{folder}: is no model that this version reads ({type(error).__name__}: {error})"
            ) from error

    @classmethod
    def of_sealed(
        cls, sealed: HashedFolder, folder: Path, device: str = "cpu", batch_size: int = RECORDS_AT_ONCE
    ) -> Self:
        """The model that the files of ``sealed`` describe; ``folder`` is where messages say that they lie.

        Raises:
            ArtifactError: the parts do not fit each other, or are none that this version knows.
        """
        limit_threads()
        bundle_parts.require_files(sealed, folder)
        parts = {name: bundle_parts.decoded(folder / name, sealed.files, name, sealed.hashes) for name in MODELS}
        features = Features.load(*parts["features"])
        if sealed.about.get("columns") != bundle_parts.columns_of(features):
            raise ArtifactError(f"{folder / manifest.MANIFEST}: its columns are not those of {folder}/features.json")
        encoder = bundle_parts.encoder(folder, features, *parts["encoder"], device)
        passes = bool(parts["encoder"][0].get("pass_features"))
        width = encoder.latent + (len(features.columns) if passes else 0)
        detector = bundle_parts.detector(folder / "detector", width, *parts["detector"], device)
        has_head = parts["head"][0].get("detector") != "none"
        head = bundle_parts.detector(folder / "head", width, *parts["head"], device) if has_head else None
        calibration = Calibration.load(*parts["thresholds"])
        if ("head" in calibration.surprisals) != has_head:
            raise ArtifactError(f"{folder / 'thresholds'}: calibrated {'without' if has_head else 'with'} a head")
        model = TwoStage(encoder, detector, calibration, batch_size, head, passes)
        used = bundle_parts.used_records(folder / USED, sealed.files[USED])
        past = RecentPast.of_files(folder, sealed.files)
        if CONTEXT in calibration.surprisals and past is None:
            raise ArtifactError(f"{folder / 'thresholds'}: calibrated with a context, but there is no context.json")
        return cls(str(sealed.about.get("dataset")), bundle_parts.typed(features), used, features, model, sealed, past)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the files, and makes the model of them, on its CPU."""
        return type(self).of_sealed, (self.sealed, Path("bundle"))

    @property
    def extraction(self) -> dict[str, float]:
        """The settings of the data set with which its features were read, by name; often none."""
        return dict(self.sealed.about.get("extraction", {}))

    @property
    def is_of_flows(self) -> bool:
        """Whether it reads flows as CICFlowMeter writes them, whose times may be in any unit."""
        return self.dataset.partition(" ")[0] in FLOWS

    @property
    def reading(self) -> Reading:
        """What the files left open that it was trained on, and how it was read."""
        return Reading.of(**self.sealed.about.get("reading", Reading().stated()))  # an older bundle does not say it

    @property
    def label_settings(self) -> dict[str, Any]:
        """The settings of the data set that say what its labels mean, by name; often none."""
        return dict(self.sealed.about.get("label_settings", {}))

    @property
    def digest(self) -> str:
        """sha256 over the manifest: equal digests, the same model."""
        return self.sealed.digest

    @property
    def calibration(self) -> Calibration:
        """The decision on top of the scores."""
        return self.model.calibration

    def save(self, folder: Path) -> None:
        """Store it as ``folder``, whole or not at all.

        Raises:
            ArtifactError: it cannot be written.
        """
        self.sealed.save(folder)

    def with_calibration(self, calibration: Calibration, used: NDArray[np.uint64] | None = None) -> Self:
        """The same two stages under another decision.

        Args:
            calibration: the decision.
            used: (m,) ids of the records that it was fitted on, which from now on may not judge it either.
        """
        ids = self.used if used is None else np.union1d(self.used, used)
        files = dict(zip(bundle_parts.file_names("thresholds"), encode_model(*calibration.state()), strict=True))
        files[USED] = save_tensors({"record_id": ids})
        sealed = HashedFolder(self.sealed.about, {**self.sealed.files, **files})
        made = replace(self, used=ids, model=replace(self.model, calibration=calibration), sealed=sealed)
        known = self.canaries()
        return made if known is None else made._with_canaries(canaries.decided(made, known))

    def _with_canaries(self, found: Canaries | None) -> Self:
        """The same model, which says how many canaries it has, and holds them if there are any."""
        about = {**self.sealed.about, canaries.NAME: None if found is None else found.about}
        files = {} if found is None else canaries.encoded(found, self.columns)
        return replace(self, sealed=HashedFolder(about, {**self.sealed.files, **files}))

    @property
    def looks_back(self) -> RecentPast | None:
        """What it makes of the recent past of hosts, where its thresholds were fitted with that."""
        return self.past if CONTEXT in self.calibration.surprisals else None

    @property
    def contract(self) -> Mapping[str, Any] | None:
        """What it was fitted on; None for a model that is older than contracts. See ``pipeline.serving.contract``."""
        found: Mapping[str, Any] | None = self.sealed.about.get("contract")
        return found

    def benign(self) -> pa.Table | None:
        """A few raw benign records that it was fitted on, their ids first; None for a model that kept none.

        Raises:
            ArtifactError: they do not fit the columns.
        """
        return benign.decoded(Path(), self.sealed.files, self.columns)

    def attacks(self) -> pa.Table | None:
        """A few raw attacks that it has learnt, their ids and names first; None for a model that keeps none.

        Raises:
            ArtifactError: they do not fit the columns.
        """
        return attacks.decoded(Path(), self.sealed.files, self.columns)

    def canaries(self) -> Canaries | None:
        """A few records, and what it said of them when it was made; None for a model that has none.

        Raises:
            ArtifactError: they do not fit the columns.
        """
        return canaries.decoded(Path(), self.sealed.files, self.columns)

    def require(self, names: Collection[str]) -> None:
        """Refuse records that lack a column.

        Raises:
            SchemaError: with all that are missing.
        """
        record_columns.require(self.columns, names)

    def predict(self, records: Records, context: NDArray[np.floating[Any]] | None = None) -> Prediction:
        """Judge n records, ``model.batch_size`` of them in memory as features at a time.

        The same records in the same order get the same scores, bit for bit; in other batches the last bits may differ,
        as a matrix product rounds by its shape. So a record that ties with a calibration record falls to either side.

        Args:
            records: canonical column name -> (n,) numbers, or words where it is categorical; other columns are passed
                over. NaN or null is a number, null or "" a word that is not known. Where the column that tells groups
                apart is absent, no record's group is known.
            context: (n,) scores of the recent past of their hosts, NaN where a record has none; None where no record
                has one. Records alone do not tell it, as they may be a sample. Other models pass it over.

        Raises:
            SchemaError: a column is missing.
            DataError: a column holds what it should not, or a score is NaN.
        """
        table = record_columns.table(self.columns, records)
        rows = self.model.batch_size
        parts = [self.model.scores(self.x(table.slice(start, rows))) for start in range(0, table.num_rows, rows)]
        scores = [*np.concatenate([self.model.scores(np.zeros((0, 1), np.float32)), *parts]).T]
        if self.looks_back is not None and context is not None:
            scores.append(context)
        return Prediction.of(self.calibration, *scores, groups=self._groups(records))

    def unknown_words(self, records: Records) -> dict[str, Counter[str]]:
        """Categorical column -> each word of the records that no train record has, and how many records have it.

        Raises:
            SchemaError: a column is missing.
            DataError: a column holds what it should not.
        """
        columns = [column for column in self.columns if column.categorical]
        if not columns:
            return {}
        table = record_columns.table(columns, records)
        return self.features.unknown_words(dict(record_columns.arrays(columns, table)))

    def x(self, table: pa.Table) -> NDArray[np.float32]:
        """(n, F) features of the rows of a checked table."""
        mapped = self.features.map(dict(record_columns.arrays(self.columns, table)))
        return transposed(np.stack([mapped[name] for name in self.features.columns]))

    def _groups(self, records: Records) -> Names | None:
        """(n,) groups of the records; None where nothing says them."""
        name, about = self.calibration.group, self.sealed.about.get("group")
        if name is None or name not in record_columns.names_of(records):
            return None
        if about is None:  # an older bundle does not say what the column holds
            values = record_columns.converted(name, records[name])
        else:
            values = record_columns.arrow(Column(**about), records[name], text_only=True)
        return group_names(np.asarray(values.to_pandas()))
