"""The parts of a bundle, made again from its files: the encoder, the detectors, the ids of the records it has used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from pipeline.artifacts import paths
from pipeline.artifacts.models import decode_model
from pipeline.artifacts.tables import column_type
from pipeline.base.errors import ArtifactError, ConfigError, near_miss
from pipeline.base.registry import build
from pipeline.datasets.schema import Column
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.preprocessing.features import Features
from pipeline.serving import attacks, benign
from pipeline.serving.manifest import HashedFolder
from pipeline.settings.renamed import dotted

Description = Mapping[str, Any]
Weights = Mapping[str, NDArray[Any]]

MODELS: Final = {
    path.name: path for path in (paths.FEATURES, paths.ENCODER, paths.DETECTOR, paths.HEAD, paths.THRESHOLDS)
}
CONTEXT: Final = paths.CONTEXT.name  # a bundle has it where its records have a context
USED: Final = "used.safetensors"


def file_names(model: str) -> tuple[str, str]:
    """The two files of a model."""
    return f"{model}.json", f"{model}.safetensors"


def require_files(sealed: HashedFolder, folder: Path) -> None:
    """Refuse a folder that lacks a file of a bundle or holds another one; kept records and contexts may be absent.

    Raises:
        ArtifactError: with the file.
    """
    needed = {*(name for model in MODELS for name in file_names(model)), USED}
    given, optional = {*sealed.files}, ({*benign.FILES}, {*attacks.FILES}, {*file_names(CONTEXT)})
    known = needed.union(*optional)
    beside = {name for files in optional if given & files for name in files}
    for name in sorted((needed | beside) ^ given):
        state = "is absent" if name in known else f"is no file of a bundle{near_miss(name, known)}"
        raise ArtifactError(f"{folder / name}: {state}; a bundle holds {', '.join(sorted(known))}")


def decoded(
    stem: Path, files: Mapping[str, bytes], name: str, hashes: Mapping[str, str] | None = None
) -> tuple[Description, Weights]:
    """What a model is, and its weights.

    Args:
        stem: of its files, for messages.
        files: name -> content.
        name: of the model.
        hashes: name of a file -> its sha256, where they are known.

    Raises:
        ArtifactError: a part is damaged, or belongs to another model.
    """
    about, weights = file_names(name)
    return decode_model(stem, files[about], files[weights], weights_sha256=hashes[weights] if hashes else "")


def used_records(path: Path, content: bytes) -> NDArray[np.uint64]:
    """(k,) ids.

    Raises:
        ArtifactError: ``content`` holds none.
    """
    try:
        ids: NDArray[np.uint64] = load_tensors(content)["record_id"]
    except (SafetensorError, KeyError) as error:
        raise ArtifactError(f"{path}: holds no record ids ({error!r})") from error
    if ids.dtype != np.uint64 or ids.ndim != 1:
        raise ArtifactError(f"{path}: holds {ids.ndim}-dimensional {ids.dtype}, not record ids")
    return ids


def encoder(folder: Path, features: Features, about: Description, weights: Weights) -> Encoder:
    """The trained encoder.

    Raises:
        ArtifactError: it does not fit the features, or its weights do not fit its settings.
    """
    try:
        if tuple(about["columns"]) != features.columns:
            raise ValueError("it was trained on other features than features.json gives")
        loss = build(LOSSES, about["loss"], **about["loss_settings"])
        built = build(ENCODERS, about["encoder"], features=len(features.columns), loss=loss, **about["settings"])
        built.load_state_dict(_tensors(weights))
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{folder / 'encoder'}: cannot be built again: {error}") from error
    return built


def detector(path: Path, width: int, about: Description, weights: Weights) -> Detector:
    """The fitted detector on ``width`` latents.

    Raises:
        ArtifactError: it was fitted on others, or its weights do not fit its settings.
    """
    try:
        if len(about["columns"]) != width:
            raise ValueError(f"it was trained on {len(about['columns'])} latents, the first stage gives {width}")
        folds = about.get("folds") or {"number": 1}  # an older bundle knows no folds
        name = about["detector"]
        settings = dotted({f"stage2.{name}": about["settings"]}, str(path), lambda _: None)[f"stage2.{name}"]
        models = [build(DETECTORS, name, features=width, **settings) for _ in range(folds["number"])]
        built = Folds(width, models, folds["seed"]) if "folds" in about else models[0]
        built.load_state_dict(_tensors(weights))
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path}: cannot be built again: {error}") from error
    return built


def columns_of(features: Features) -> list[dict[str, Any]]:
    """The raw columns that features are made of, ready for JSON."""
    return [{"name": name, "categorical": name in features.words} for name in features.reads]


def typed(features: Features) -> tuple[Column, ...]:
    """The raw columns that features are made of."""
    return tuple(Column(each["name"], categorical=each["categorical"]) for each in columns_of(features))


def group_of(records: Path, name: str) -> dict[str, Any]:
    """The column that tells groups apart, and whether its values are words."""
    return {"name": name, "categorical": pa.types.is_dictionary(column_type(records, name))}


def _tensors(weights: Weights) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array) for name, array in weights.items()}
