"""A model as two files: JSON says what it is, safetensors holds its weights."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pipeline.artifacts.files import encode_json, read_bytes, unreadable, write_bytes
from pipeline.artifacts.paths import model_files
from pipeline.base.errors import ArtifactError


def encode_model(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[bytes, bytes]:
    """A model as the contents of two files: JSON, which names the weights that it belongs to, and safetensors."""
    weights = save_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return encode_json({**description, "weights_sha256": hashlib.sha256(weights).hexdigest()}), weights


def decode_model(
    stem: Path, about: bytes, weights: bytes, *, weights_sha256: str = ""
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What ``encode_model`` made the two contents of.

    Args:
        stem: of the files, for messages.
        about: content of the first one.
        weights: content of the second one.
        weights_sha256: of ``weights``, where it was computed already.

    Raises:
        ArtifactError: a part is damaged, or belongs to another model; it names the files of ``stem``.
    """
    paths = model_files(stem)
    try:
        description = json.loads(about)
        if not isinstance(description, dict):
            raise ValueError(f"a JSON object is expected, not {type(description).__name__}")
    except (ValueError, RecursionError) as error:
        raise unreadable(paths[0], error) from error
    try:
        arrays = load_tensors(weights)
    except SafetensorError as error:
        raise unreadable(paths[1], error) from error
    if description.pop("weights_sha256", None) != (weights_sha256 or hashlib.sha256(weights).hexdigest()):
        remedy = "run `dvc repro` to make both again"
        raise ArtifactError(f"{paths[1]}: are not the weights that {paths[0]} names; {remedy}")
    return description, arrays


def write_model(stem: Path, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Store a model as ``stem.safetensors`` and ``stem.json``, which names the weights that it belongs to."""
    about, weights = encode_model(description, arrays)
    paths = model_files(stem)
    write_bytes(paths[1], weights)
    write_bytes(paths[0], about)


def read_model(stem: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What ``write_model`` stored.

    Raises:
        ArtifactError: a part is absent, damaged, or belongs to another model.
    """
    return decode_model(stem, *map(read_bytes, model_files(stem)))
