"""What the page of evaluate tells beside its metrics, gathered from the files that earlier stages left."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_bytes, read_csv, read_json, sha256_of
from pipeline.reporting.page import Facts
from pipeline.reporting.page.cited import Document

OTHER_FIGURES = ("ingest/class_counts",)  # drawn by earlier stages
MODELS = (paths.FEATURES, paths.ENCODER, paths.DETECTOR, paths.HEAD, paths.THRESHOLDS)
READ = (
    *((paths.PROCESSED, split) for split in ("train", "val", "test_seen", "test_unseen")),
    *((paths.SCORES, split) for split in ("test_seen", "test_unseen")),
)
SOFTWARE = ("flowsculpt", "torch", "numpy", "scipy", "scikit-learn", "lightning", "pyarrow")


def facts(metrics: dict[str, Any], threshold: str, folder: Path) -> Facts:
    """The facts of the page.

    Args:
        metrics: the content of ``metrics.json``.
        threshold: the one of the headline result.
        folder: where evaluate has written its own figures and explanations.
    """
    pictures = [*sorted(folder.glob("*.svg")), *(paths.REPORTS / f"{name}.svg" for name in OTHER_FIGURES)]
    explained = folder / "explanations.csv"
    models = [stem.with_suffix(".json") for stem in MODELS]
    return Facts(
        metrics=Document(paths.METRICS.as_posix(), metrics),
        source=Document(paths.SOURCE.as_posix(), read_json(paths.SOURCE)),
        threshold=threshold,
        splits=_document(paths.REPORTS / "preprocess" / "splits.json"),
        audit=_document(paths.REPORTS / "validate" / "summary.json"),
        shortcuts=_document(paths.REPORTS / "validate" / "shortcuts.json"),
        figures={path.stem: read_bytes(path) for path in pictures if path.is_file()},
        explanations=read_csv(explained) if explained.is_file() else (),
        models={path.stem: read_json(path) for path in models if path.is_file()},
        versions={"Python": platform.python_version(), **_versions()},
        hashes=_hashes(models),
    )


def _document(path: Path) -> Document | None:
    return Document(path.as_posix(), read_json(path)) if path.is_file() else None


def _hashes(models: list[Path]) -> dict[str, str]:
    """Of the records and models that the stage reads; the JSON of a model names the hash of its weights."""
    tables = [room / f"{split}.parquet" for room, split in READ]
    files = [paths.SOURCE, *tables, *models]
    return {path.as_posix(): sha256_of(path) for path in files if path.is_file()}


def _versions() -> dict[str, str]:
    """Of what is installed; a copy of the code that is not installed has none of its own."""
    installed = {name: next(iter(metadata.distributions(name=name)), None) for name in SOFTWARE}
    return {name: found.version for name, found in installed.items() if found}
