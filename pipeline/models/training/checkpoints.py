"""Checkpoints without pickle: one safetensors file, the tensors in its body and the rest as JSON in its header."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.base import durable
from pipeline.base.errors import ArtifactError


def write(content: dict[str, Any], path: Path) -> None:
    """Write nested dicts, lists, tuples, tensors and plain values; the file appears whole or not at all.

    Raises:
        ArtifactError: the file cannot be written, for instance because the disk is full.
    """
    tensors: dict[str, Tensor] = {}
    header = {"content": json.dumps(_encode(content, tensors))}
    with durable.atomic(path, "free some space and run again to resume") as temporary:
        # Not ``save_file``: that writes under a temporary name of its own, which a kill would leave behind for good.
        temporary.write_bytes(save(tensors, header))


def read(path: Path) -> dict[str, Any]:
    """What ``write`` wrote, on the CPU.

    Raises:
        ArtifactError: if the file is not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            content: dict[str, Any] = _decode(json.loads(file.metadata()["content"]), file)
            return content
    except (SafetensorError, KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise ArtifactError(f"{path}: not a checkpoint ({error}); delete it to train afresh") from error


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for ``value``; its tensors go into ``tensors``. A list is itself, whatever else is nested is tagged."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # A copy: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_encode(key, tensors), _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_encode(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds tensors and plain values, not a {type(value).__name__}: {value!r}")


def _decode(value: Any, file: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item, file) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        tensor: Tensor = file.get_tensor(content)
        return tensor
    items = [_decode(item, file) for item in content]
    return dict(items) if kind == "dict" else tuple(items)
