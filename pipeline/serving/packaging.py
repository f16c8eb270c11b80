"""What a registered version is made of: an MLflow pyfunc that is stored as code, and a sealed bundle beside it.

``pipeline/serving/pyfunc.py`` is the model, and the files of ``pipeline`` that it imports lie beside it. The bundle is
JSON and safetensors; nothing is pickled. It loads in any process that has the pinned requirements, without this
repository.

MLflow knows what comes out and what a caller may ask for, but enforces no types on the records that go in: it would
refuse whole numbers where a column holds rates elsewhere, and drop a column under its published name. The model checks
them itself, see ``calls``.
"""

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import sha256_of, write_bytes
from pipeline.base.errors import ArtifactError
from pipeline.serving import bundle_parts, own_model, sbom
from pipeline.serving.bundle import Bundle
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.origin import FOLDER as ORIGIN
from pipeline.serving.origin import Origin
from pipeline.serving.time_units import AUTO
from pipeline.tracking import store

BUNDLE = "artifacts/bundle"  # of the pyfunc's folder
FETCHED = "registered_model_meta"  # MLflow writes it beside what it fetches by a name of the registry
PACKAGE = Path(__file__).parents[1]
SCORING = (
    *("alerts/kinds", "alerts/schema", "attacks", "benign", "bundle", "bundle_parts", "calls", "causes"),
    *("canaries", "canary_check", "context_facts", "contract", "contract_check", "counts", "families", "frames"),
    *("gathered", "kept_records", "manifest"),
    *("named_features", "pyfunc", "quantities", "reasons", "recent_past", "record_columns", "time_units"),
    *("torch_parts", "two_stage", "usual"),
)
READING = (  # what tells which column of a frame is which and what it means, and what that stands on
    *("base", "cells", "clock", "dialect", "encodings", "extractors", "header", "labels", "marks", "meaning"),
    *("names", "nulls", "ratios", "reading", "schema", "times", "units", "words"),
)
# The files and rooms of the package that scoring imports; a test holds them against its imports.
CODE = (
    *("artifacts", "base", "calibration", "preprocessing"),
    *("datasets/families", "evaluation/replacement.py"),
    *(f"datasets/{name}.py" for name in READING),
    *(
        "models/arrays",
        "models/base.py",
        "models/detectors",
        "models/encoders",
        "models/layers.py",
        "models/on_device.py",
        "models/scoring.py",
    ),
    *(f"serving/{name}.py" for name in SCORING),
    *("settings/base.py", "settings/preprocess.py", "settings/renamed.py", "settings/scoring.py"),
)
CARRIED = (".py", ".toml")
# What scoring imports, and what that needs beside its own requirements.
REQUIRED = ("mlflow", "numpy", "pandas", "psutil", "pyarrow", "safetensors", "scipy", "threadpoolctl")
TORCH = "torch"  # beside them, where the model computes with it
PREDICTION = {
    "score": "double",
    "p_value": "double",
    "confidence": "float",
    "verdict": "string",
    "margin": "double",
    "detector": "double",
    "head": "double",
    "density": "double",  # the former name of detector, for one version
    "level": "string",
    "contract": "string",
    "notice": "string",
    "thresholds": "string",
    "model_digest": "string",
    "model_version": "long",
    "driver": "string",
    "kind": "string",
    "family": "string",
    "reasons": "string",
}

# What a call may ask for -> the usual value.
ASKED: dict[str, str | int] = {"time_unit": AUTO, "contract": "warn", "reasons": 0}


def save(folder: Path, sealed: HashedFolder, logged: Any, run_id: str, origin: Origin | None = None) -> None:
    """Write the pyfunc as ``folder/model``.

    Args:
        folder: an empty one.
        sealed: the bundle.
        logged: MLflow's model, which it belongs to.
        run_id: of the pipeline run that made it.
        origin: where it comes from.
    """
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model

    required = _required(sealed)
    sealed.save(folder / "bundle")
    _copy_code(folder / "code" / PACKAGE.name)
    pyfunc.save_model(
        str(folder / "model"),
        python_model=str(folder / "code" / PACKAGE.name / Path(__file__).with_name("pyfunc.py").relative_to(PACKAGE)),
        artifacts={"bundle": str(folder / "bundle")},
        code_paths=[str(folder / "code" / PACKAGE.name)],
        signature=_signature(),
        input_example=pd.DataFrame([sealed.about["example"]]),
        pip_requirements=[f"{name}=={metadata.version(name).partition('+')[0]}" for name in required],
        model_config={"digest": sealed.digest, "device": "cpu", "canaries": "refuse"},
        mlflow_model=Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id),
    )
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
    beside = {
        sbom.FILE: sbom.of_model(own_model.name(), sealed.digest, required),
        **(origin.encoded() if origin else {}),
    }
    for name, content in beside.items():
        write_bytes(folder / "model" / ORIGIN / name, content)


def _required(sealed: HashedFolder) -> tuple[str, ...]:
    """The packages that a model is loaded with."""
    bundle = Bundle.of_sealed(sealed, Path(BUNDLE))
    model, past = bundle.model, None if bundle.past is None else bundle.past.detector
    computes = bundle_parts.needs_torch(model.encoder, model.detector, model.head, past)
    return (*REQUIRED, TORCH) if computes else REQUIRED


def versions() -> dict[str, str]:
    """The versions of what a model may be loaded with, as they are installed."""
    return {name: metadata.version(name) for name in (*REQUIRED, TORCH)}


def download(model: str, version: int, folder: Path) -> Path:
    """The bundle of a version, below ``folder``, as the store gives it: unchecked.

    Raises:
        ArtifactError: the store does not give it.
    """
    return _downloaded(model, version, f"/{BUNDLE}", folder)


def download_all(model: str, version: int, folder: Path) -> Path:
    """The whole pyfunc of a version, below ``folder``, as the store gives it: unchecked.

    Raises:
        ArtifactError: the store does not give it.
    """
    return _downloaded(model, version, "", folder)


def code_digest(folder: Path) -> str:
    """sha256 over all that MLflow reads of a pyfunc, but not over its bundle, which has a digest of its own.

    Each line is the sha256 of a file and its path, in the order of the paths, as ``sha256sum`` prints them.

    Args:
        folder: of the pyfunc.
    """
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir())
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in names if not _is_beside(name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _is_beside(name: str) -> bool:
    """Whether a file is of the bundle, or the one in which MLflow notes from where it fetched a model."""
    return name.startswith(f"{BUNDLE}/") or name == FETCHED


def _downloaded(model: str, version: int, path: str, folder: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    client = store.client()
    try:
        source = client.get_model_version_download_uri(model, str(version))
        uri = f"{source.rstrip('/')}{path}"
        with hushed():
            return Path(download_artifacts(uri, dst_path=str(folder), tracking_uri=client.tracking_uri))
    except (MlflowException, OSError) as error:
        raise ArtifactError(f"version {version} of {model}: its bundle cannot be fetched: {error}") from error


@contextmanager
def hushed() -> Iterator[None]:
    """Without MLflow's progress bars, and its warnings of its own type hints and of how it calls pandas."""
    bars = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
    given = os.environ.get(bars)
    os.environ[bars] = given or "false"
    try:
        with store.quiet("mlflow"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if given is None:
            os.environ.pop(bars, None)


def _copy_code(target: Path) -> None:
    """Copy what the registered model imports, each file beside the ``__init__.py`` of the packages around it."""
    listed = [
        file
        for name in CODE
        for file in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*"))
        if file.suffix in CARRIED
    ]
    around = {parent / "__init__.py" for file in listed for parent in file.parents if parent.is_relative_to(PACKAGE)}
    for file in {*listed, *around}:
        copy = target / file.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    outputs = Schema([ColSpec(kind, name) for name, kind in PREDICTION.items()])
    asked = [ParamSpec(name, "string" if isinstance(usual, str) else "long", usual) for name, usual in ASKED.items()]
    return ModelSignature(None, outputs, ParamSchema(asked))
