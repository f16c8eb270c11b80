"""The parts of a bundle, made again from its files: the encoder, the detectors, the ids of the records it has used."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from pipeline.artifacts import paths
from pipeline.artifacts.models import decode_model
from pipeline.artifacts.tables import column_type
from pipeline.base.errors import ArtifactError, ConfigError, near_miss
from pipeline.datasets.schema import Column
from pipeline.models.arrays import registry as forms
from pipeline.models.arrays.base import Form
from pipeline.models.arrays.identity import IdentityForm
from pipeline.preprocessing.features import Features
from pipeline.serving import attacks, benign, canaries
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.two_stage import Detector, Encoder
from pipeline.settings.renamed import dotted

Description = Mapping[str, Any]
Weights = Mapping[str, NDArray[Any]]
T = TypeVar("T")

MODELS: Final = {
    path.name: path for path in (paths.FEATURES, paths.ENCODER, paths.DETECTOR, paths.HEAD, paths.THRESHOLDS)
}
CONTEXT: Final = paths.CONTEXT.name  # a bundle has it where its records have a context
USED: Final = "used.safetensors"
_UNFIT: Final = (ConfigError, KeyError, TypeError, ValueError, RuntimeError)  # what a description or an array raises


def file_names(model: str) -> tuple[str, str]:
    """The two files of a model."""
    return f"{model}.json", f"{model}.safetensors"


def require_files(sealed: HashedFolder, folder: Path) -> None:
    """Refuse a folder that lacks a file of a bundle or holds another one; kept records and contexts may be absent.

    Raises:
        ArtifactError: with the file.
    """
    needed = {*(name for model in MODELS for name in file_names(model)), USED}
    given, optional = {*sealed.files}, ({*benign.FILES}, {*attacks.FILES}, {*canaries.FILES}, {*file_names(CONTEXT)})
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


def encoder(folder: Path, features: Features, about: Description, weights: Weights, device: str) -> Encoder:
    """The trained encoder.

    Raises:
        ArtifactError: it does not fit the features, or its weights do not fit its settings.
    """
    width = len(features.columns)
    if tuple(about.get("columns", ())) != features.columns:
        raise _broken(folder / "encoder", "it was trained on other features than features.json gives")
    found: Encoder = _made(
        folder / "encoder",
        lambda: forms.encoder(str(about["encoder"]), str(about["loss"]), width, weights),
        lambda parts: parts.encoder(about, width, weights, device),
        device,
    )
    return found


def detector(path: Path, width: int, about: Description, weights: Weights, device: str = "cpu") -> Detector:
    """The fitted detector on ``width`` latents.

    Raises:
        ArtifactError: it was fitted on others, or its weights do not fit its settings.
    """
    if len(about.get("columns", ())) != width:
        raise _broken(path, f"it was trained on {len(about.get('columns', ()))} latents, the first stage gives {width}")
    try:
        name = about["detector"]
        settings = dotted({f"stage2.{name}": about["settings"]}, str(path), lambda _: None)[f"stage2.{name}"]
    except (ConfigError, KeyError, TypeError) as error:
        raise _broken(path, error) from error
    stored = name, width, settings, weights, about.get("folds")  # an older bundle knows no folds
    found: Detector = _made(
        path, lambda: forms.detector(*stored), lambda parts: parts.detector(*stored, device), device
    )
    return found


def needs_torch(*models: object) -> bool:
    """Whether any of the models of a bundle computes with PyTorch; None stands for a model that it lacks."""
    return any(not isinstance(each, Form | IdentityForm) for each in models if each is not None)


def _made(path: Path, formed: Callable[[], T], built: Callable[[Any], T], device: str) -> T:
    """A model in the form that needs no PyTorch, where it has one, and else as PyTorch's.

    Where the form cannot be made, PyTorch's way may: it knows what older versions stored. Or it says what is wrong.
    """
    reason: object = f"it is to run on {device}"
    if device == "cpu":
        try:
            return formed()
        except _UNFIT as error:
            reason = error
    try:
        from pipeline.serving import torch_parts
    except ImportError as error:
        raise _broken(path, f"{reason}; and PyTorch is not installed") from error
    try:
        return built(torch_parts)
    except _UNFIT as error:
        raise _broken(path, error) from error


def _broken(path: Path, reason: object) -> ArtifactError:
    return ArtifactError(f"{path}: cannot be built again: {reason}")


def columns_of(features: Features) -> list[dict[str, Any]]:
    """The raw columns that features are made of, ready for JSON."""
    return [{"name": name, "categorical": name in features.words} for name in features.reads]


def typed(features: Features) -> tuple[Column, ...]:
    """The raw columns that features are made of."""
    return tuple(Column(each["name"], categorical=each["categorical"]) for each in columns_of(features))


def group_of(records: Path, name: str) -> dict[str, Any]:
    """The column that tells groups apart, and whether its values are words."""
    return {"name": name, "categorical": pa.types.is_dictionary(column_type(records, name))}
