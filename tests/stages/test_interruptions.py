"""A disk that is full and a stage that is killed: the old artefact survives, and the next run goes on."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import write_json

HEAD = """
    import resource, signal, sys
    from pathlib import Path
    import numpy as np
    import pyarrow as pa
    from pipeline.artifacts import paths
    from pipeline.artifacts.files import whole_folder, write_json
    from pipeline.artifacts.models import write_model
    from pipeline.artifacts.tables import TableWriter, write_columns
    from pipeline.base.errors import ArtifactError
    from pipeline.settings.sections import SECTIONS

    def full_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    rng = np.random.default_rng(0)
"""
WRITERS = {
    "data/a.json": "write_json(Path('data/a.json'), rng.random(5_000).tolist())",
    "data/a.csv": "write_columns(Path('data/a.csv'), {'x': rng.random(5_000)})",
    "data/a.safetensors": "write_model(Path('data/a'), {'name': 'new'}, {'w': rng.random(5_000)})",
    "data/a.parquet": """
with TableWriter(Path('data/a.parquet'), pa.schema([('x', pa.float64())])) as writer:
    for _ in range(3):
        writer.write(pa.table({'x': rng.random(20_000)}))
""",
}


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    here = {"PYTHONPATH": str(Path(paths.__file__).parents[2]), "KILL_IN_EPOCH": "-1"}
    command, environment = [sys.executable, "-c", textwrap.dedent(HEAD) + code], os.environ | here | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def old_files() -> dict[str, bytes]:
    write_json(Path("data/a.json"), {"old": True})
    Path("data/a.csv").write_text("old")
    Path("data/a.safetensors").write_bytes(b"old")
    Path("data/a.parquet").write_bytes(b"old")
    return content()


def content() -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}


@pytest.mark.parametrize("path", WRITERS)
def test_a_full_disk_leaves_the_old_artefact(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = old_files()
    attempt = f"""
full_disk()
try:
{textwrap.indent(WRITERS[path].strip(), "    ")}
except ArtifactError as error:
    sys.exit(str(error))
"""
    done = python(attempt)
    assert done.returncode == 1, done.stderr
    message = done.stderr.strip()
    assert message.startswith(f"{path}: cannot be written ("), message
    assert "what was there before is untouched" in message
    assert "free some space" in message
    assert content() == before


def test_a_full_disk_within_a_folder_leaves_the_old_folder(prepared: Any) -> None:
    before = content()
    attempt = """
full_disk()
try:
    run("preprocess")
except ArtifactError as error:
    sys.exit(str(error))
"""
    done = python(STAGE + attempt)
    assert done.returncode == 1, done.stderr
    assert re.match(r"data/processed/\w+\.parquet: cannot be written \(", done.stderr), done.stderr
    after = content()
    processed = {path for path in before if path.startswith("data/processed/")}
    assert {path for path in after if "processed" in path} == processed
    assert all(after[path] == before[path] for path in processed)


STAGE = """
import importlib, os
from pipeline import config
from pipeline.stages.reports.report import Report

class Run:
    \"\"\"Forgets what is logged, and ends the process without a word in the epoch that KILL_IN_EPOCH names.\"\"\"
    def metrics(self, values, step=None):
        if "val_loss" in values and step == int(os.environ["KILL_IN_EPOCH"]):
            os.kill(os.getpid(), signal.SIGKILL)
    def __getattr__(self, name):
        return lambda *values, **named: None

def run(stage):
    body = getattr(importlib.import_module(f"pipeline.stages.{stage}"), stage)
    with whole_folder(paths.REPORTS / stage) as folder:
        body(config.load(SECTIONS[stage]), Report(folder, Run()))
"""


@pytest.mark.parametrize(
    ("stage", "plugin", "name", "room", "model"),
    [
        ("stage1", "encoder", "cnn_transformer", paths.LATENT, paths.ENCODER),
        ("stage2", "detector", "maf", paths.SCORES, paths.DETECTOR),
    ],
)
def test_a_killed_stage_goes_on_and_ends_where_an_uninterrupted_one_does(
    prepared: Any, stage: str, plugin: str, name: str, room: Path, model: Path
) -> None:
    fit = {"epochs": 3, "min_steps": 0, "batch_size": 128, "device": "cpu"}
    prepared.set(f"{stage}.fit", prepared.params[stage]["fit"] | fit)
    prepared.set(f"{stage}.{plugin}", name)
    outcome = [model.with_suffix(".json"), model.with_suffix(".safetensors"), *sorted(room.iterdir())]
    old = [path.read_bytes() for path in outcome]

    killed = python(f"{STAGE}run({stage!r})", KILL_IN_EPOCH="1")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (paths.CHECKPOINTS / stage / "last.safetensors").exists()
    assert [path.read_bytes() for path in outcome] == old

    assert epochs(prepared, stage) == [1, 2]  # epoch 1 was killed before it was kept
    resumed = {path: path.read_bytes() for path in outcome}
    assert not [*room.parent.glob(".*"), *model.parent.glob(".*")]
    assert epochs(prepared, stage) == [0, 1, 2]
    assert [path.name for path in outcome if path.read_bytes() != resumed[path]] == []
    assert [*resumed.values()] != old


def epochs(project: Any, stage: str) -> list[int]:
    """The epochs that a run of ``stage`` trains."""
    seen: list[int] = []
    project.on_metrics = lambda values, step=None: seen.append(step) if "val_loss" in values else None
    project.run(stage)
    return seen
