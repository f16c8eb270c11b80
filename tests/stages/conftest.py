"""A project of its own for each test: params.yaml, raw files in the published format, and stage bodies to run."""

import importlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import yaml
from matplotlib.figure import Figure

from flows.runtime import presets
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.tables import TableWriter, read_table
from pipeline.base.errors import FlowsculptError
from pipeline.datasets.synthetic.files import write
from pipeline.settings.sections import SECTIONS
from pipeline.stages.reports.report import Report

PARAMS = Path(__file__).parents[2] / "params.yaml"
SYSTEM = re.compile(r"preprocess\.features\.|stage1\.(encoder|loss)$|stage2\.(detector|head)$|calibrate\.scores$")
PUBLISHED = presets.read("latent_sculpting", PARAMS.parent / "presets")
SMALL = {
    key: value for key, value in PUBLISHED.items() if SYSTEM.match(key)
} | {  # settings that make every stage quick
    "ingest.dataset": "cicids2017",
    "stage1.encoder": "identity",
    "stage2.detector": "mahalanobis",
    "stage2.boosting.trees": 20,
    "stage2.calibration.kind": "split",  # one fit; test_across has folds, and so have the shipped settings
}


def shipped_settings() -> dict[str, Any]:
    """All that params.yaml says, as it is shipped."""
    params: dict[str, Any] = yaml.safe_load(PARAMS.read_text())
    return params


class NoRun:
    """Stands for the tracked run of a stage; whatever is logged is forgotten, but metrics are told to ``listener``."""

    def __init__(self, listener: Callable[..., object]) -> None:
        self.metrics = listener

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values, **named: None


class Undrawn(Report):
    """A report with empty figures: to draw them takes longer than the rest of a stage."""

    def figure(self, name: str, figure: Figure) -> None:
        """An empty ``name.svg``."""
        empty = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
        (self.folder / f"{name}.svg").write_bytes(empty)


class Project:
    """The working folder; ``raw`` holds the eight files of a small simulated week."""

    raw = Path("data/raw")
    report: type[Report] = Undrawn

    def __init__(self) -> None:
        self.on_metrics: Callable[..., object] = lambda values, step=None: None
        self.params = shipped_settings()
        for name, value in SMALL.items():
            self.set(name, value)

    def set(self, name: str, value: object) -> None:
        """Change one setting, say ``stage1.fit.epochs``, and save params.yaml."""
        *sections, key = name.split(".")
        place = self.params
        for section in sections:
            place = place[section]
        place[key] = value
        config.PARAMS.write_text(yaml.safe_dump(self.params))

    def run(self, *stages: str) -> None:
        """Run the bodies of stages, with the settings of params.yaml and no tracking."""
        for stage in stages:
            folder = paths.REPORTS / stage
            folder.mkdir(parents=True, exist_ok=True)
            body = getattr(importlib.import_module(f"pipeline.stages.{stage}"), stage)
            verdict = body(config.load(SECTIONS[stage]), self.report(folder, NoRun(self.on_metrics)))  # type: ignore[arg-type]
            if verdict:
                verdict()

    def refusal(self, stage: str, error: type[FlowsculptError]) -> str:
        """The message with which a stage refuses its input, exactly with ``error``."""
        with pytest.raises(error) as caught:
            self.run(stage)
        assert caught.type is error
        return str(caught.value)

    def file(self, day: str) -> Path:
        """The raw file whose name holds ``day``."""
        return next(path for path in sorted(self.raw.iterdir()) if day in path.name)

    def only(self, *days: str) -> None:
        """Remove all raw files but those of ``days``."""
        kept = {self.file(day) for day in days}
        for path in {*self.raw.iterdir()} - kept:
            path.unlink()

    def edit(self, day: str, change: Callable[[list[list[str]]], object]) -> Path:
        """Change the cells of a raw file in place: lists of texts, the header first."""
        path = self.file(day)
        cells = [line.split(",") for line in path.read_text("utf-8").splitlines()]
        change(cells)
        path.write_text("".join(",".join(row) + "\n" for row in cells), "utf-8")
        return path

    def doctor(self, change: Callable[[dict[str, list[Any]]], object]) -> None:
        """Change the columns of the ingested records, as lists."""
        table = read_table(paths.RECORDS)
        columns = table.to_pydict()
        change(columns)
        with TableWriter(paths.RECORDS, table.schema) as writer:
            writer.write(pa.Table.from_pydict(columns, schema=table.schema))


@pytest.fixture(scope="session")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("week")
    write(folder, records=600, seed=0)
    return folder


@pytest.fixture
def project(week: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(week, Project.raw)
    return Project()


@pytest.fixture(scope="session")
def finished(week: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder behind every stage but evaluate."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shutil.copytree(week, Project.raw)
        Project().run("ingest", "preprocess", "stage1", "stage2", "calibrate")
    return folder / "data"


@pytest.fixture
def prepared(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with every stage but evaluate behind it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "data")
    return Project()


@pytest.fixture
def store(prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A registry of one version, whose champion can be moved; and what Prefect would show."""
    from prefect.logging import disable_run_logger

    from benchmarks.champions import signed
    from flows import drift_check, scoring
    from flows.runtime import events
    from pipeline.serving import live_days, registry
    from pipeline.serving.bundle import Bundle
    from pipeline.serving.version import Version

    bundle = Bundle.of_project()
    bundle.save(tmp_path / "bundle")
    made = SimpleNamespace(
        bundle=bundle, number=3, asked=[], shown={}, days=[], drift=[], events=[], registered=[], promoted=[]
    )

    def find_version(which):
        made.asked.append(which)
        is_known = which in ("champion", 3, 4)
        return signed(Version(made.number, "run", bundle.digest, {}, ("champion",))) if is_known else None

    def register(folder, run_id, tags):
        made.registered.append((Bundle.load(folder), run_id, tags))
        return Version(9, run_id, "", tags, ("candidate",))

    monkeypatch.setattr(registry, "find_version", find_version)
    monkeypatch.setattr(registry, "fetch", lambda version: tmp_path / "bundle")
    monkeypatch.setattr(registry, "register", register)
    for flow in (scoring, drift_check):
        monkeypatch.setattr(flow, "create_table_artifact", lambda table, key, **_: made.shown.update({key: table}))
        monkeypatch.setattr(flow, "create_markdown_artifact", lambda text, key, **_: made.shown.update({key: text}))
    monkeypatch.setattr(live_days, "log", lambda version, _: made.days.append(version.number))
    monkeypatch.setattr(live_days, "log_drift", lambda version, changes, *_: made.drift.append(changes))
    monkeypatch.setattr(events, "emit_event", lambda name, **given: made.events.append((name, given)))
    with disable_run_logger():
        yield made


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body of the task, called without a server."""
    from flows import scoring

    body = scoring.score.fn
    monkeypatch.setattr(scoring, "score", lambda *given, **_: body(*given))


@pytest.fixture
def folder(week: Path, tmp_path: Path) -> Path:
    return shutil.copytree(week, tmp_path / "new")
