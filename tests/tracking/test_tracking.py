import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from pipeline import tracking
from pipeline.tracking import store as stores


@pytest.fixture
def parent(client, monkeypatch):
    run_id = tracking.open_parent("parent", {"why": "test"})
    monkeypatch.setenv(tracking.PARENT_VARIABLE, run_id)
    return run_id


def test_importing_the_module_imports_no_mlflow():
    code = "import sys, pipeline.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_stage_leaves_a_child_with_all_that_it_logged(client, parent, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with tracking.stage("all", {"a": {"b": 1}, "long": "x" * 9999}, {}, lambda: "hash-of-all") as run:
        run.metrics({"loss": 1.0, "auroc": 0.5}, step=0)
        run.metrics({"loss": 0.5}, step=1)
        run.file(note)
        run.file(note, "deep")
        run.dataset("records", "data/raw", "0" * 64, 3, {"x": "float32", "n": "int64", "s": "string"}, "training")
    done = client.get_run(run.run_id)
    assert done.info.status == "FINISHED"
    assert done.data.tags["mlflow.parentRunId"] == parent
    assert done.data.tags[tracking.OUTPUTS] == "hash-of-all"
    assert done.data.params["a.b"] == "1"
    assert len(done.data.params["long"]) == tracking.LONGEST_PARAM
    assert [point.value for point in client.get_metric_history(run.run_id, "loss")] == [1.0, 0.5]
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(done.data.metrics)
    folder = Path(done.info.artifact_uri.removeprefix("file://"))
    assert folder.is_relative_to(Path.cwd() / "mlruns")
    assert (folder / "note.txt").read_text() == "hello"
    assert (folder / "deep" / "note.txt").read_text() == "hello"
    data = done.inputs.dataset_inputs[0]
    assert (data.dataset.name, json.loads(data.dataset.profile)["num_rows"]) == ("records", 3)
    kinds = [column["type"] for column in json.loads(data.dataset.schema)["mlflow_colspec"]]
    assert kinds == ["float", "long", "string"]
    assert data.tags[0].value == "training"


def test_more_entries_than_one_call_of_mlflow_takes_are_logged(client, parent):
    with tracking.stage("many", {f"p{i}": i for i in range(230)}, {}, lambda: "many") as run:
        run.metrics({f"m{i}": i for i in range(1100)})
    data = client.get_run(run.run_id).data
    assert len(data.params) == 230
    assert len([name for name in data.metrics if name.startswith("m")]) == 1100


def test_an_error_fails_the_child_and_the_flow_fails_the_parent(client, parent):
    with pytest.raises(ValueError, match="broken"), tracking.stage("bad", {}, {}, lambda: "never") as run:
        raise ValueError("it is broken")
    child = client.get_run(run.run_id)
    assert (child.info.status, child.data.tags[tracking.ERROR]) == ("FAILED", "bad: ValueError: it is broken")
    assert tracking.OUTPUTS not in child.data.tags
    assert client.get_run(parent).info.status == "RUNNING"  # another try may mend it
    with tracking.stage("good", {}, {}, lambda: "good"):
        pass
    assert client.get_run(parent).info.status == "RUNNING"
    tracking.close_parent(parent)
    assert client.get_run(parent).info.status == "FINISHED"


def test_without_a_flow_an_error_fails_child_and_parent_and_the_next_success_mends_the_parent(client):
    with pytest.raises(ValueError, match="broken"), tracking.stage("bad", {}, {}, lambda: "never") as run:
        raise ValueError("it is broken")
    parent = run.pipeline.run_id
    for run_id in (run.run_id, parent):
        assert client.get_run(run_id).info.status == "FAILED"
        assert client.get_run(run_id).data.tags[tracking.ERROR] == "bad: ValueError: it is broken"
    with tracking.stage("good", {}, {}, lambda: "good") as good:
        assert client.get_run(parent).info.status == "RUNNING"
    assert good.pipeline.run_id == parent
    assert client.get_run(parent).info.status == "FINISHED"


def test_an_interruption_is_a_kill(client, parent):
    with pytest.raises(KeyboardInterrupt), tracking.stage("cut", {}, {}, lambda: "never") as run:
        raise KeyboardInterrupt
    assert client.get_run(run.run_id).info.status == "KILLED"


def test_outputs_that_cannot_be_hashed_fail_the_stage(client, parent):
    with pytest.raises(FileNotFoundError), tracking.stage("gone", {}, {}, lambda: Path("nowhere").read_text()) as run:
        run.metrics({"loss": 1.0})
    assert client.get_run(run.run_id).info.status == "FAILED"


def _make(stage, content):
    with tracking.stage(stage, {}, {}, lambda: content) as run:
        pass
    return run.run_id


def test_a_skipped_stage_is_linked_to_the_newest_run_that_made_its_outputs(client, parent, monkeypatch):
    first, again, other = _make("made", "same"), _make("made", "same"), _make("made", "else")
    _make("namesake", "same")
    assert len({first, again, other}) == 3
    later = tracking.open_parent("later", {})
    assert tracking.link(later, "made", "same") == again
    assert tracking.children(later) == {"made": tracking.Child("made", "cached", again)}


@pytest.mark.parametrize("content", ["never seen", ""])
def test_outputs_of_an_unknown_run_are_linked_to_none(client, content):
    later = tracking.open_parent("later", {})
    assert tracking.link(later, "pulled", content) is None
    assert tracking.children(later) == {"pulled": tracking.Child("pulled", "cached", None)}


def test_a_stage_links_what_was_skipped_before_it_and_only_that(client, parent, monkeypatch):
    old = _make("early", "v1")
    later = tracking.open_parent("later", {})
    monkeypatch.setenv(tracking.PARENT_VARIABLE, later)
    middle = _make("middle", "v1")
    with tracking.stage("late", {}, {"early": lambda: "v1", "middle": lambda: "v1"}, lambda: "v1") as run:
        pass
    assert tracking.children(later) == {
        "early": tracking.Child("early", "cached", old),
        "middle": tracking.Child("middle", "ran", middle),
        "late": tracking.Child("late", "ran", run.run_id),
    }


def test_without_dvc_the_stages_of_one_process_share_a_parent(client):
    runs = [client.get_run(_make(stage, "x")) for stage in ("one", "two")]
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs}
    assert len(parents) == 1
    assert parents.isdisjoint({run.info.run_id for run in runs})


def test_a_foreign_run_id_in_the_environment_takes_nothing_over(client, parent, monkeypatch):
    foreign = tracking.open_parent("foreign", {})
    monkeypatch.setenv("MLFLOW_RUN_ID", foreign)
    run = client.get_run(_make("mine", "x"))
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.info.run_id != foreign
    assert tracking.children(foreign) == {}


def test_a_parent_that_is_no_run_is_passed_over_with_a_warning(client, monkeypatch, caplog):
    monkeypatch.setenv(tracking.PARENT_VARIABLE, "0" * 32)
    run = client.get_run(_make("orphan", "x"))
    assert run.data.tags["mlflow.parentRunId"] != "0" * 32
    assert "names no run" in caplog.text


def test_a_run_whose_process_is_gone_is_closed_as_killed(client, parent):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(killed.pid)
    identity = tracking.identity(process)
    killed.wait()
    host = identity.partition(":")[0]
    experiment = client.get_run(parent).info.experiment_id
    dead, elsewhere = (
        client.create_run(experiment, tags={tracking.PROCESS: tag}).info.run_id
        for tag in (identity, identity.replace(host, "another-host", 1))
    )
    tracking.close_parent(parent)
    assert client.get_run(dead).info.status == "KILLED"
    assert client.get_run(elsewhere).info.status == "RUNNING"
    assert client.get_run(parent).info.status == "FINISHED"


def test_the_address_of_a_run_opens_the_view_of_trainings(client, parent):
    experiment = client.get_run(parent).info.experiment_id
    assert tracking.page(parent) == f"#/experiments/{experiment}/runs/{parent}?workflowType=machine_learning"


def test_a_parent_takes_settings_once_and_seconds_of_each_stage(client, parent):
    with tracking.stage("one", {"a": {"b": 1}}, {}, lambda: "one") as run:
        run.pipeline.settings({"one": {"a": {"b": 1}}, "two": {"c": "x" * 9999}})
        run.pipeline.settings({"one": {"a": {"b": 2}}})  # a parent that was taken over may meet other settings
    data = client.get_run(parent).data
    assert data.params["one.a.b"] == "1"
    assert len(data.params["two.c"]) == tracking.LONGEST_PARAM
    assert data.metrics["seconds.one"] > 0


def test_an_experiment_of_an_earlier_version_opens_in_the_view_of_trainings_too(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    opened = stores.connect.__wrapped__(uri, tmp_path)
    old = opened.client.create_experiment(tracking.project_names().experiment, str(tmp_path))
    assert opened.experiment == old
    assert opened.client.get_experiment(old).tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_parent_closed_with_an_error_has_failed(client, parent):
    tracking.close_parent(parent, "stage 'x' failed")
    run = client.get_run(parent)
    assert (run.info.status, run.data.tags[tracking.ERROR]) == ("FAILED", "stage 'x' failed")


def test_the_parent_names_the_experiment_of_dvc_and_the_commit(client, monkeypatch, tmp_path):
    for command in (
        ["init", "-q"],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-mx"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setenv("DVC_ROOT", str(Path.cwd()))
    monkeypatch.setenv("DVC_EXP_NAME", "brave-idea")
    monkeypatch.chdir(tmp_path)
    tags = client.get_run(tracking.open_parent("x", {})).data.tags
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert tags["dvc.experiment"] == "brave-idea"
    assert tags["mlflow.source.git.commit"] == head.strip()


def test_the_store_lies_in_the_project_root(project, monkeypatch, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert tracking.project_root() == tmp_path / "a" / "b"
    (tmp_path / "params.yaml").touch()
    assert tracking.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert tracking.tracking_uri() == f"sqlite:///{project}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert tracking.tracking_uri() == f"sqlite:///{project}/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking.tracking_uri() == "http://127.0.0.1:5000"


def test_those_that_meet_in_a_fresh_project_share_one_whole_store(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with ThreadPoolExecutor(4) as pool:  # as good as processes here: each opens the lock file for itself
        opened = list(pool.map(lambda _: stores.connect.__wrapped__(uri, tmp_path), range(4)))
    assert len({each.experiment for each in opened}) == 1
    for each in opened:
        each.client.create_run(each.experiment)
    assert len(opened[0].client.search_runs([opened[0].experiment])) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock", "mlruns"]
