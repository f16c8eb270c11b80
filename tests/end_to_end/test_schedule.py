"""The life of a model on real servers: a schedule trains, the gate promotes and refuses, a rollback, no process left.

The tests run in the order of the file, each on what the one before it left.
"""

import json
import ssl
import stat
import sys

import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline import tracking
from pipeline.artifacts import paths
from pipeline.serving import registry
from pipeline.tracking import store
from tests.end_to_end import browser
from tests.end_to_end.conftest import ROOT, SMALL, Project
from tests.end_to_end.proxy import NGINX, proxied
from tests.end_to_end.served import serving, until

QUICK = {"stage1": {"encoder": "identity"}, "stage2": {"detector": "mahalanobis"}, "workers": {"gpu_workers": 0}}
PICTURES = ROOT / "build" / "screenshots"
# How many tables of a page of Markdown are wider than their place.
TABLES = "[...document.querySelectorAll('.markdown-renderer__table')]"
CUT_OFF = f"{TABLES}.filter(each => each.scrollWidth > each.clientWidth).length"
EVERY = 5  # seconds between two runs of the schedule


def _schedule_often(project):
    path = project.folder / "prefect.yaml"
    whole = yaml.safe_load(path.read_text())
    training = next(each for each in whole["deployments"] if each["name"] == "training")
    training["schedules"] = [{"interval": EVERY, "active": True}]
    path.write_text(yaml.safe_dump(whole, sort_keys=False))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(tmp_path_factory.mktemp("scheduled"))
    made.settings(SMALL)
    made.settings(QUICK)
    _schedule_often(made)
    made.commit()
    return made


@pytest.fixture(scope="module")
def served(project):
    with serving(project.folder, "--allowed-hosts", "prefect.example,mlflow.example") as served:
        yield served


@pytest.fixture
def own_store(project, monkeypatch):
    """This process reads the store of the project."""
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def _training(served):
    deployment = served.ask("deployments/name/training/training", method="GET")
    return deployment, served.runs(deployments={"id": {"any_": [deployment["id"]]}})


def _stop_schedule(served):
    deployment, _ = _training(served)
    for schedule in deployment["schedules"]:
        served.ask(f"deployments/{deployment['id']}/schedules/{schedule['id']}", {"active": False}, "PATCH")


def _first_and_dropped(served):
    """The scheduled run that works, and one that came due meanwhile."""
    _, runs = _training(served)
    states = {run["state"]["type"]: run for run in runs}
    return (
        {"first": states["RUNNING"]["id"], "dropped": states["CANCELLED"]}
        if {"RUNNING", "CANCELLED"} <= states.keys()
        else None
    )


def test_a_schedule_fires_a_training_run_and_the_next_is_dropped_while_it_goes(served, own_store):
    both = until(lambda: _first_and_dropped(served), 180, served.log)
    _stop_schedule(served)
    assert both["dropped"]["auto_scheduled"]
    end = served.wait(both["first"])
    assert end["type"] == "COMPLETED", end
    run = served.run(both["first"])
    assert run["auto_scheduled"]
    assert run["work_pool_name"] == "gpu"
    version = registry.find_version("champion")
    assert (version.number, version.tags[tracking.FLOW_RUN]) == (1, both["first"])
    assert registry.find_version("candidate").number == 1


EVIL = "http://evil.example"


def test_no_foreign_page_and_nobody_without_the_secret_gets_in(served):
    experiments = f"{served.mlflow}/api/2.0/mlflow/experiments/search?max_results=9"
    for address, login in ((f"{served.api}/admin/version", served.login), (experiments, served.login)):
        assert served.knock(address).status_code == 401
        assert served.knock(address, ("flowsculpt", "guess")).status_code == 401
        assert served.knock(address, login).status_code == 200
        assert served.knock(address, login, headers={"Host": "evil.example"}).status_code in (400, 403)
        preflight = {"Origin": EVIL, "Access-Control-Request-Method": "POST"}
        for method, headers in (("GET", {"Origin": EVIL}), ("OPTIONS", preflight)):
            answer = served.knock(address, login, method, headers=headers)
            assert answer.headers.get("access-control-allow-origin") not in ("*", EVIL)
    created = f"{served.mlflow}/api/2.0/mlflow/experiments/create"
    assert served.knock(created, served.login, "POST", headers={"Origin": EVIL}).status_code == 403


def test_what_is_written_is_for_its_owner_alone_and_the_secret_is_not_told(served, project):
    folder, (_, secret) = project.folder, served.login
    assert stat.S_IMODE((folder / ".prefect").stat().st_mode) == 0o700
    files = [path for path in (folder / ".prefect").rglob("*") if path.is_file()] + [folder / "mlflow.db"]
    assert not [path for path in files if path.stat().st_mode & 0o077]
    assert secret in (folder / ".prefect" / "secret").read_text()
    told = [served.log, *(folder / ".prefect").glob("*.log")]
    assert not [path for path in told if secret in path.read_text()]


def test_no_run_chooses_its_command(served, project):
    found = served.ask("deployments/name/promotion/promotion", method="GET")
    given = {"job_variables": {"command": f"touch {project.folder / 'taken'}"}}
    with pytest.raises(httpx.HTTPStatusError, match=r"40\d|422"):
        served.ask(f"deployments/{found['id']}/create_flow_run", given)
    assert not (project.folder / "taken").exists()


def test_no_login_brings_code_onto_a_worker(served, project):
    """A deployment of somebody's own, with a step that runs a command, in a pool that starts another one."""
    taken = project.folder / "taken"
    flow = served.ask("flows/", {"name": "promotion"})["id"]
    step = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {taken}"}}
    named = {"name": "own", "flow_id": flow, "entrypoint": "flows/promotion.py:promotion", "work_pool_name": "cpu"}
    own = served.ask("deployments/", {**named, "pull_steps": [step]})["id"]
    pool = served.ask("work_pools/cpu", method="GET")["base_job_template"]
    ours = pool["job_configuration"]
    try:
        theirs = {**pool, "job_configuration": {**ours, "command": f"touch {taken}"}}
        served.ask("work_pools/cpu", {"base_job_template": theirs}, "PATCH")
        run = served.ask(f"deployments/{own}/create_flow_run", {})["id"]
        end = served.wait(run)
    finally:
        served.ask("work_pools/cpu", {"base_job_template": pool}, "PATCH")
    assert (end["type"], end["name"]) == ("FAILED", "Refused"), end
    assert "deployment 'own' does not stand in" in end["message"]
    assert not taken.exists()


def test_a_reader_reads_and_a_trainer_writes(served, project, own_store):
    experiment = store.experiment()
    tag = {"experiment_id": experiment, "key": "note", "value": "x"}
    base = f"{served.mlflow}/api/2.0/mlflow/experiments"

    def may(login):
        read = served.knock(f"{base}/get?experiment_id={experiment}", login).status_code
        written = served.knock(f"{base}/set-experiment-tag", login, "POST", json=tag).status_code
        return read, written

    said = project.call("flowsculpt", "people", "add", "ada", **served.shell)
    ada = ("ada", said.split()[-1])
    assert may(ada) == (200, 403)
    assert may(("ada", "guess")) == (401, 401)
    assert "ada is a trainer" in project.call("flowsculpt", "people", "add", "ada", "--role", "trainer", **served.shell)
    assert may(ada) == (200, 200)
    project.call("flowsculpt", "people", "remove", "ada", **served.shell)
    assert may(ada) == (401, 401)


@pytest.mark.skipif(NGINX is None, reason="needs nginx")
def test_the_servers_are_reached_by_tls_as_the_recipe_says(served, tmp_path):
    with proxied(tmp_path, {"4200": served.api, "5000": served.mlflow}) as ask:
        user, secret = served.login
        assert ask("prefect.example", "/api/admin/version") == 401
        assert ask("prefect.example", "/api/admin/version", (user, secret)) == 200
        assert ask("prefect.example", "/api/flows/count", (user, secret), "https://prefect.example", {}) == 200
        assert ask("prefect.example", "/api/flows/count", (user, secret), EVIL, {}) == 403
        found = "/api/2.0/mlflow/experiments/search"
        assert ask("mlflow.example", found, (user, secret), "https://mlflow.example", {"max_results": 1}) == 200
        assert ask("mlflow.example", found, (user, secret), EVIL, {"max_results": 1}) == 403
        with pytest.raises(ssl.SSLError):
            ask("other.example", "/")


def _train(served, project, changes):
    project.settings(changes)
    run = served.start("training/training")
    end = served.wait(run)
    assert end["type"] == "COMPLETED", (end, served.log.read_text()[-3000:])
    return end


def _log_of_promotions(project):
    return [json.loads(line) for line in (project.folder / paths.PROMOTIONS).read_text().splitlines()]


def test_a_model_that_is_as_good_replaces_the_champion(served, project, own_store):
    _train(served, project, {"calibrate": {"percentiles": [99, 97, 95, 90]}})
    assert registry.find_version("champion").number == 2
    assert registry.find_version("previous").number == 1


def test_a_scoring_run_judges_new_records_with_the_champion(served, project):
    incoming = project.folder / "data" / "incoming"
    incoming.mkdir()
    records = pq.read_table(project.folder / paths.RECORDS).slice(0, 300)
    pq.write_table(records, incoming / "today.parquet")
    run = served.start("scoring/scoring")
    assert served.wait(run)["type"] == "COMPLETED"
    (file,) = (project.folder / paths.SCORED).glob("*.parquet")
    scored = pq.read_table(file)
    assert scored.num_rows == 300
    assert set(scored.column("model_version").to_pylist()) == {2}
    assert set(scored.column("verdict").to_pylist()) <= {"benign", "unknown", "anomalous"}


def test_a_worse_one_is_refused_with_its_reasons(served, project, own_store):
    end = _train(served, project, {"stage2": {"detector": "pca", "pca": {"variance": 0.01}}})
    assert "efused" in end["message"], end
    assert registry.find_version("champion").number == 2
    assert registry.find_version("candidate").number == 3
    line = _log_of_promotions(project)[-1]
    assert line["reasons"]
    assert any(str(reason) in end["message"] for reason in line["reasons"])


def test_a_rollback_brings_the_previous_version_back(served, project, own_store):
    project.call(sys.executable, "-m", "flows.promotion", "--rollback", **served.shell)
    assert registry.find_version("champion").number == 1


def test_the_chain_leads_from_a_scored_file_back_to_the_data(served, project, own_store):
    (file,) = (project.folder / paths.SCORED).glob("*.parquet")
    name = file.relative_to(project.folder).as_posix()
    said = project.call(sys.executable, "-m", "flows.lineage", name, **served.shell)
    version = registry.find_version(2)
    for part in (version.digest[:12], version.tags[tracking.FLOW_RUN], version.tags["flowsculpt.dvc_lock"][:12]):
        assert part in said
    assert all(stage in said for stage in paths.OUTPUTS)


@pytest.mark.skipif(browser.PROGRAM is None, reason="needs Chromium, which is not installed here")
def test_the_pages_say_what_happened(served, own_store):
    """Flow run and decision in Prefect, runs, system metrics and registry in MLflow; pictures stay in build/."""
    first, ui = registry.find_version(1), served.api.removesuffix("/api")
    shown = served.ask("artifacts/filter", {"sort": "CREATED_DESC"})
    decision = next(each["id"] for each in shown if each["key"] == "promotion-decision")
    stage2 = tracking.children(first.run_id)["stage2"].run_id
    runs = f"{served.mlflow}/#/experiments/1/runs"
    pages = {
        "prefect_training": (f"{ui}/runs/flow-run/{first.tags[tracking.FLOW_RUN]}", "Completed", "training", "ingest"),
        "prefect_decision": (f"{ui}/artifacts/artifact/{decision}", "refused", "champion", "candidate", "benign FPR"),
        "prefect_deployments": (f"{ui}/deployments", "training", "scoring", "drift-check", "promotion"),
        "mlflow_runs": (f"{runs}?workflowType=machine_learning", "training", "flowsculpt", "Duration"),
        "mlflow_system_metrics": (f"{runs}/{stage2}/system-metrics", "cpu_utilization"),
        "mlflow_registry": (f"{served.mlflow}/#/models/flowsculpt", "champion", "previous", "candidate"),
        "mlflow_version": (f"{served.mlflow}/#/models/flowsculpt/versions/1", "flowsculpt.digest", "AUROC"),
    }
    user, secret = served.login
    with browser.browser() as page:
        page.open(ui, "Login")
        page.enter(f"{user}:{secret}")
        # The page asks for nothing more under an address that holds a login; the browser keeps the login all the same.
        page.open(served.mlflow.replace("://", f"://{user}:{secret}@"), "Experiments")
        for name, (address, *words) in pages.items():
            page.open(address, *words)
            assert page.script(CUT_OFF) == 0, name
            page.picture(PICTURES / f"{name}.png")


def test_cancelling_a_run_ends_its_stage_at_once(served, project):
    project.settings({"stage2": {"detector": "radon", "fit": {"epochs": 2000, "patience": 0}}})
    run = served.start("training/training", promote=False)
    until(lambda: served.find("pipeline.stages.stage2"), 120, served.log)
    served.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    assert served.wait(run)["type"] == "CANCELLED"
    until(lambda: not served.find("pipeline.stages.") and not served.find("dvc", "repro"), 30)


def test_a_worker_that_is_killed_is_followed_by_one_that_goes_on_in_the_same_run(served, project):
    project.settings({"stage2": {"fit": {"epochs": 60}}})
    run = served.start("training/training", promote=False)
    until(lambda: served.find("pipeline.stages.stage2"), 120, served.log)
    for worker in served.find("-m flows.worker"):
        worker.kill()
    assert served.wait(run)["type"] == "COMPLETED"
    assert served.run(run)["run_count"] == 2
    _, runs = project.runs()
    tags = [each.data.tags for each in runs]
    parents = [t for t in tags if t.get(tracking.FLOW_RUN) == run and t.get(tracking.KIND) == "pipeline"]
    assert len(parents) == 1


def test_an_unknown_parameter_ends_the_run_with_its_name(served):
    end = served.wait(served.start("promotion/promotion", versoin="candidate"))
    assert end["type"] in ("FAILED", "CRASHED")
    assert "versoin" in served.log.read_text()


def test_ctrl_c_leaves_no_process(served):
    assert served.stop() == 0
    assert served.processes() == []
    assert "serve: stopping" in served.log.read_text()
    assert not (served.folder / ".prefect" / "env").exists()
