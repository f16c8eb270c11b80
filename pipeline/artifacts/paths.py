"""The path of every artefact, and the outputs of each stage."""

import hashlib
from pathlib import Path

DATA = Path("data")
RECORDS = DATA / "interim" / "records.parquet"
REJECTED = DATA / "interim" / "rejected.parquet"
SOURCE = DATA / "interim" / "source.json"
FEATURES = DATA / "models" / "features"
ENCODER = DATA / "models" / "encoder"
DETECTOR = DATA / "models" / "detector"
HEAD = DATA / "models" / "head"
CONTEXT = DATA / "models" / "context"
THRESHOLDS = DATA / "models" / "thresholds"
PROCESSED = DATA / "processed"
LATENT = DATA / "latent"
SCORES = DATA / "scores"
REPORTS = DATA / "reports"
DOUBTED = REPORTS / "validate" / "doubted_labels.parquet"
METRICS = REPORTS / "metrics.json"
PAGE = REPORTS / "report.html"
CHECKPOINTS = DATA / "checkpoints"
PROMOTIONS = DATA / "promotions.jsonl"
INCOMING = DATA / "incoming"
OBJECTS = DATA / "objects"  # copies of what lies in object stores
SCORED = DATA / "scored"
QUARANTINE = DATA / "quarantine"  # files that came in and cannot be scored
DRIFT = REPORTS / "drift"
BENCHMARK = REPORTS / "benchmark"
CELLS = DATA / "benchmark.jsonl"
WATCH = DATA / "watch"  # what the watch has read and not yet judged to the end of a stretch
LABELS = DATA / "labels.jsonl"  # the verdicts of analysts
SUPPRESSIONS = DATA / "suppressions.toml"  # what analysts do not want to see
TRUSTED_KEYS = DATA / "trusted_keys.json"  # public keys whose signatures count
REGISTERED = DATA / "registered"  # versions of the model, as they were fetched


def model_files(stem: Path) -> tuple[Path, Path]:
    """A model is two files: what it is, and its weights."""
    return stem.with_suffix(".json"), stem.with_suffix(".safetensors")


# What each stage writes, in the order of the stages; dvc.yaml declares the same (a test compares them).
OUTPUTS: dict[str, tuple[Path, ...]] = {
    "ingest": (RECORDS, REJECTED, SOURCE, REPORTS / "ingest"),
    "validate": (REPORTS / "validate",),
    "preprocess": (PROCESSED, *model_files(FEATURES), REPORTS / "preprocess"),
    "stage1": (LATENT, *model_files(ENCODER), REPORTS / "stage1"),
    "stage2": (SCORES, *model_files(DETECTOR), *model_files(HEAD), *model_files(CONTEXT), REPORTS / "stage2"),
    "calibrate": (*model_files(THRESHOLDS), REPORTS / "calibrate"),
    "evaluate": (METRICS, PAGE, REPORTS / "evaluate"),
}


def upstream(stage: str) -> tuple[str, ...]:
    """The stages before ``stage``."""
    names = list(OUTPUTS)
    return tuple(names[: names.index(stage)])


def content_hash(stage: str) -> str:
    """A digest of everything that ``stage`` wrote, as it lies on disk now; "" where something is absent."""
    files = [file for output in OUTPUTS[stage] for file in (sorted(output.rglob("*")) if output.is_dir() else [output])]
    if not all(output.exists() for output in OUTPUTS[stage]):
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(file.as_posix().encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
