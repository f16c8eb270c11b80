"""A trained detector as one folder: all that scoring needs, and which records may not judge it.

::

    features.json    features.safetensors      records -> features
    encoder.json     encoder.safetensors       features -> latent, and its margin
    detector.json    detector.safetensors      latent -> score
    head.json        head.safetensors          latent -> score of a supervised head, if there is one
    thresholds.json  thresholds.safetensors    the scores -> verdict
    used.safetensors                           record ids of train, val and calibration
    bundle.json                                format, data set, raw columns, an example, the sha256 of each file
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_bytes, read_json
from pipeline.artifacts.models import decode_model, encode_model
from pipeline.artifacts.tables import column_type, read_table
from pipeline.base.errors import ArtifactError, ConfigError, DataError, SchemaError, near_miss
from pipeline.base.registry import build
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.named_thresholds import Names, group_names
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.schema import Column
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.preprocessing.features import Features
from pipeline.serving import manifest
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.two_stage import TwoStage

Records: TypeAlias = Mapping[str, NDArray[Any]] | pa.Table
Description = Mapping[str, Any]
Weights = Mapping[str, NDArray[Any]]

MODELS: Final = {
    path.name: path for path in (paths.FEATURES, paths.ENCODER, paths.DETECTOR, paths.HEAD, paths.THRESHOLDS)
}
USED: Final = "used.safetensors"
FITTED_ON: Final = ("train", "val", "calibration")
ROWS_AT_ONCE: Final = 8192  # as the stages score, so that a registered model gives their scores bit for bit


@dataclass(frozen=True)
class Bundle:
    """Raw records in, judgement out; made by ``of_project`` or ``load``.

    Attributes:
        dataset: name of the data set that it was trained on.
        columns: the raw record columns that it reads.
        used: (k,) ids of the records that it was fitted on, ascending: they may not judge it.
        features: records to features.
        model: features to judgement.
        sealed: the files that it is stored as.
    """

    dataset: str
    columns: tuple[Column, ...]
    used: NDArray[np.uint64] = field(repr=False)
    features: Features = field(repr=False)
    model: TwoStage = field(repr=False)
    sealed: HashedFolder = field(repr=False)

    @classmethod
    def of_project(cls, data: Path = paths.DATA) -> Self:
        """The model that the last training left under ``data``.

        Raises:
            ArtifactError: a stage has not run, or its outputs do not fit those of another one.
        """

        def here(path: Path) -> Path:
            return data / path.relative_to(paths.DATA)

        files = {
            f"{name}{kind}": read_bytes(here(path).with_suffix(kind))
            for name, path in MODELS.items()
            for kind in manifest.KINDS
        }
        ids = [
            read_table(here(paths.PROCESSED) / f"{split}.parquet", ["record_id"]).column(0).to_numpy()
            for split in FITTED_ON
        ]
        files[USED] = save_tensors({"record_id": np.unique(np.concatenate(ids))})
        features = Features.load(*_decoded(here(paths.FEATURES), files, "features"))
        dataset = read_json(here(paths.SOURCE))["dataset"]
        about = {"dataset": dataset, "columns": _columns(features), "example": features.typical()}
        group = _decoded(here(paths.THRESHOLDS), files, "thresholds")[0].get("group")
        about |= {"group": group and _group(here(paths.RECORDS), group)}
        return cls.of_sealed(HashedFolder(about, files), here(paths.FEATURES).parent)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Self:
        """The model that ``save`` stored.

        Args:
            folder: where it lies.
            device: where it is to score: ``cpu``, ``cuda`` or ``cuda:1``.

        Raises:
            ArtifactError: a byte has changed, a file is missing, added or of another kind, or the parts do not fit.
        """
        return cls.of_sealed(manifest.load(folder), folder, device)

    @classmethod
    def of_sealed(cls, sealed: HashedFolder, folder: Path, device: str = "cpu", batch_size: int = ROWS_AT_ONCE) -> Self:
        """The model that the files of ``sealed`` describe; ``folder`` is where messages say that they lie.

        Raises:
            ArtifactError: the parts do not fit each other, or are none that this version knows.
        """
        _require_files(sealed, folder)
        parts = {name: _decoded(folder / name, sealed.files, name) for name in MODELS}
        features = Features.load(*parts["features"])
        if sealed.about.get("columns") != _columns(features):
            raise ArtifactError(
                f"{folder / manifest.MANIFEST}: its columns are not those that {folder}/features.json reads"
            )
        with torch.random.fork_rng(devices=[]):  # building draws weights, which are replaced
            encoder = _encoder(folder, features, *parts["encoder"])
            passes = bool(parts["encoder"][0].get("pass_features"))
            width = encoder.latent + (len(features.columns) if passes else 0)
            detector = _detector(folder / "detector", width, *parts["detector"])
            has_head = parts["head"][0].get("detector") != "none"
            head = _detector(folder / "head", width, *parts["head"]) if has_head else None
        calibration = Calibration.load(*parts["thresholds"])
        if ("head" in calibration.tails) != has_head:
            raise ArtifactError(f"{folder / 'thresholds'}: calibrated {'without' if has_head else 'with'} a head")
        model = TwoStage(encoder, detector, calibration, batch_size, device, head, passes)
        columns = tuple(Column(each["name"], categorical=each["categorical"]) for each in _columns(features))
        used = _used(folder / USED, sealed.files[USED])
        return cls(str(sealed.about.get("dataset")), columns, used, features, model, sealed)

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
        files = dict(zip(_names("thresholds"), encode_model(*calibration.state()), strict=True))
        files[USED] = save_tensors({"record_id": ids})
        sealed = HashedFolder(self.sealed.about, {**self.sealed.files, **files})
        return replace(self, used=ids, model=replace(self.model, calibration=calibration), sealed=sealed)

    def require(self, names: Collection[str]) -> None:
        """Refuse records that lack a column.

        Raises:
            SchemaError: with all that are missing.
        """
        missing = [column.name for column in self.columns if column.name not in names]
        if missing:
            spelt = ", ".join(f"{name!r}{near_miss(name, set(names) - {*missing})}" for name in missing)
            raise SchemaError(f"the records lack {len(missing)} of the {len(self.columns)} columns read: {spelt}")

    def predict(self, records: Records) -> Prediction:
        """Judge n records, ``model.batch_size`` of them in memory as features at a time.

        The same records in the same order get the same scores, bit for bit; in other batches the last bits may differ,
        as a matrix product rounds by its shape. So a record that ties with a calibration record falls to either side.

        Args:
            records: canonical column name -> (n,) numbers, or words where it is categorical; other columns are passed
                over. NaN or null is a number, null or "" a word that is not known. Where the column that tells groups
                apart is absent, no record's group is known.

        Raises:
            SchemaError: a column is missing.
            DataError: a column holds what it should not, or a score is NaN.
        """
        table = self._table(records)
        rows = self.model.batch_size
        parts = [self.model.scores(self._x(table.slice(start, rows))) for start in range(0, table.num_rows, rows)]
        none = np.zeros((0, len(self.calibration.tails)), np.float32)
        return Prediction.of(self.calibration, *np.concatenate([none, *parts]).T, groups=self._groups(records))

    def _groups(self, records: Records) -> Names | None:
        """(n,) groups of the records; None where nothing tells."""
        name, about = self.calibration.group, self.sealed.about.get("group")
        told = records.column_names if isinstance(records, pa.Table) else records.keys()
        if name is None or name not in told:
            return None
        values = _arrow(name, records[name])
        if about is not None:
            _check_kind(Column(**about), values.type)
        return group_names(np.asarray(values.to_pandas()))

    def _table(self, records: Records) -> pa.Table:
        """The columns that are read, checked."""
        self.require(records.column_names if isinstance(records, pa.Table) else records.keys())
        read = {column.name: _arrow(column.name, records[column.name]) for column in self.columns}
        for column in self.columns:
            _check_kind(column, read[column.name].type)
        _check_lengths({name: len(values) for name, values in read.items()})
        return pa.table(read)

    def _x(self, table: pa.Table) -> NDArray[np.float32]:
        """(B, F) features of some records."""
        mapped = self.features.map(dict(self._read(table)))
        return np.stack([mapped[name] for name in self.features.columns], axis=1)

    def _read(self, table: pa.Table) -> Iterator[tuple[str, NDArray[Any]]]:
        for column in self.columns:
            values = table.column(column.name)
            if column.categorical:
                words = values.cast(pa.string()).fill_null("")
                yield column.name, words.to_numpy(zero_copy_only=False).astype(object)
            else:
                yield column.name, values.cast(pa.float64()).to_numpy()


def _columns(features: Features) -> list[dict[str, Any]]:
    return [{"name": name, "categorical": name in features.words} for name in features.reads]


def _group(records: Path, name: str) -> dict[str, Any]:
    """The column that tells groups apart, and whether its values are words."""
    return {"name": name, "categorical": pa.types.is_dictionary(column_type(records, name))}


def _names(model: str) -> tuple[str, str]:
    return f"{model}.json", f"{model}.safetensors"


def _require_files(sealed: HashedFolder, folder: Path) -> None:
    known = {*(name for model in MODELS for name in _names(model)), USED}
    for name in sorted(known ^ {*sealed.files}):
        state = "is absent" if name in known else f"is no file of a bundle{near_miss(name, known)}"
        raise ArtifactError(f"{folder / name}: {state}; a bundle holds {', '.join(sorted(known))}")


def _decoded(stem: Path, files: Mapping[str, bytes], name: str) -> tuple[Description, Weights]:
    return decode_model(stem, *(files[each] for each in _names(name)))


def _used(path: Path, content: bytes) -> NDArray[np.uint64]:
    try:
        ids: NDArray[np.uint64] = load_tensors(content)["record_id"]
    except (SafetensorError, KeyError) as error:
        raise ArtifactError(f"{path}: holds no record ids ({error!r})") from error
    if ids.dtype != np.uint64 or ids.ndim != 1:
        raise ArtifactError(f"{path}: holds {ids.ndim}-dimensional {ids.dtype}, not record ids")
    return ids


def _encoder(folder: Path, features: Features, about: Description, weights: Weights) -> Encoder:
    try:
        if tuple(about["columns"]) != features.columns:
            raise ValueError("it was trained on other features than features.json gives")
        loss = build(LOSSES, about["loss"], **about["loss_settings"])
        encoder = build(ENCODERS, about["encoder"], features=len(features.columns), loss=loss, **about["settings"])
        encoder.load_state_dict(_tensors(weights))
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{folder / 'encoder'}: cannot be built again: {error}") from error
    return encoder


def _detector(path: Path, width: int, about: Description, weights: Weights) -> Detector:
    try:
        if len(about["columns"]) != width:
            raise ValueError(f"it was trained on {len(about['columns'])} latents, the first stage gives {width}")
        folds = about.get("folds") or {"number": 1}  # an older bundle knows no folds
        models = [
            build(DETECTORS, about["detector"], features=width, **about["settings"]) for _ in range(folds["number"])
        ]
        detector = Folds(width, models, folds["seed"]) if "folds" in about else models[0]
        detector.load_state_dict(_tensors(weights))
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path}: cannot be built again: {error}") from error
    return detector


def _tensors(weights: Weights) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array) for name, array in weights.items()}


def _arrow(name: str, values: Any) -> pa.ChunkedArray | pa.Array:
    """A column as Arrow has it; what is no column raises DataError."""
    if isinstance(values, pa.ChunkedArray | pa.Array):
        return values
    array = np.asarray(values)
    try:
        return pa.array(array, from_pandas=array.dtype == object)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(f"column {name!r} holds values of several kinds: {error}") from error


def _check_kind(column: Column, kind: pa.DataType) -> None:
    words = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(words) or pa.types.is_large_string(words)
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    if not (pa.types.is_null(kind) or (is_text if column.categorical else is_number)):
        raise DataError(
            f"column {column.name!r} holds {kind}, allowed are {'words' if column.categorical else 'numbers'}"
        )


def _check_lengths(rows: Mapping[str, int]) -> None:
    usual = max(rows.values(), key=list(rows.values()).count, default=0)
    for name, n in rows.items():
        if n != usual:
            raise DataError(f"column {name!r} holds {n} values, the others hold {usual}")
