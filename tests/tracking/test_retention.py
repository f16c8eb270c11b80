"""Files of old runs go; metrics, settings and what a registered version names stay."""

import time
from pathlib import Path

import pytest

from pipeline import tracking
from pipeline.base.errors import ArtifactError
from pipeline.serving import registry
from pipeline.tracking import retention
from pipeline.tracking import store as stores
from pipeline.tracking.removal import DAY


@pytest.fixture
def trained(project, tmp_path, monkeypatch):
    """Makes a pipeline run with one stage, which logs a file; returns their ids."""

    def trained(name, stage="stage2", close=True):
        (tmp_path / "table.csv").write_text("a,b\n1,2\n")
        parent = tracking.open_parent(name, {})
        with monkeypatch.context() as patch:
            patch.setenv(tracking.PARENT_VARIABLE, parent)
            with tracking.stage(stage, {"seed": 1}, {}, lambda: f"outputs of {name}") as run:
                run.metrics({"auroc": 0.5})
                run.file(tmp_path / "table.csv")
                run.file(tmp_path / "table.csv", "deep")
        if close:
            tracking.close_parent(parent)
        return parent, run.run_id

    return trained


def files(run_id):
    folder = Path(stores.client().get_run(run_id).info.artifact_uri.removeprefix("file://"))
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def found(runs=0, days=0, now=None):
    return {each.name: each for each in retention.files_of_runs(runs, days, time.time() if now is None else now)}


def test_files_of_all_but_the_newest_runs_go_and_their_figures_stay(trained):
    _, old = trained("old")
    _, new = trained("new")
    assert not found()
    before = found(runs=1)
    assert "new" not in before
    assert (before["old"].size, before["old"].count) == (16, 2)
    assert files(old) == ["deep/table.csv", "table.csv"]  # looking removes nothing
    assert before["old"].remove()
    assert files(old) == [] and files(new) == ["deep/table.csv", "table.csv"]
    run = stores.client().get_run(old)
    assert (run.data.metrics["auroc"], run.data.params["seed"]) == (0.5, "1")
    assert retention.PRUNED in run.data.tags
    assert "old" not in found(runs=1)


def test_files_of_runs_go_by_their_age(trained):
    trained("aged")
    assert "aged" not in found(days=30)
    assert "aged" in found(days=30, now=time.time() + 31 * DAY)


def test_a_run_that_is_open_keeps_its_files(trained):
    parent, _ = trained("open", close=False)
    trained("behind it")
    assert "open" not in found(runs=1)
    tracking.close_parent(parent)
    assert "open" in found(runs=1)


def test_what_a_registered_version_names_keeps_its_files(trained, unseen_folder):
    maker, shared = trained("its stage")
    parent, own = trained("its run", "calibrate")
    stores.client().set_tag(parent, "stage.stage2", shared)  # as where DVC skipped the stage
    version = registry.register(unseen_folder, parent, {"flowsculpt.stage_outputs": '{"ingest": {"a": "md5:1"}}'})
    again, made_again = trained("made again")
    assert registry.register(unseen_folder, again, {}).number == version.number
    trained("last")
    named = found(runs=1)
    assert not {"its run", "made again", "last"} & named.keys()
    assert "its stage" not in named  # its one run with files is the stage that the version used
    for run in (shared, own, made_again):
        assert files(run) == ["deep/table.csv", "table.csv"]
    assert maker
    assert '{"ingest": {"a": "md5:1"}}' in retention.named_by_versions("flowsculpt.stage_outputs")


def test_a_store_that_refuses_is_named(project, monkeypatch):
    from mlflow.exceptions import MlflowException

    def refuse(*_, **__):
        raise MlflowException("no such table")

    monkeypatch.setattr(retention.queries, "all_runs", refuse)
    with pytest.raises(ArtifactError, match=r"sqlite:///.*mlflow.db: no such table"):
        found(runs=1)
