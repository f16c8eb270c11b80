"""prefect.yaml: what is deployed, with parameters that the flows know and describe."""

import importlib
import re
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.utilities.callables import parameter_schema

from flows import deploy
from flows.runtime import access, channels, gpu, servers
from flows.runtime.own_names import artefact_key, own
from pipeline.base.errors import ConfigError

ROOT = Path(__file__).parents[2]


def _deployments(name):
    return {each["name"]: each for each in yaml.safe_load((ROOT / name).read_text())["deployments"]}


NOTIFY = "notify: {channels: [%s], run_book: run-book.md, late: 60, again: 0}\n"
DEPLOYMENTS = _deployments("prefect.yaml")


def test_the_whole_life_of_a_model_is_deployed():
    assert set(DEPLOYMENTS) == {"training", "scoring", "watch", "drift-check", "promotion", "prune", "benchmark"}
    on_gpus = {name for name, each in DEPLOYMENTS.items() if each["work_pool"]["name"] == "gpu"}
    assert on_gpus == {"training", "scoring", "benchmark"}
    assert all(each["tags"] and each["entrypoint"].startswith("flows/") for each in DEPLOYMENTS.values())
    assert DEPLOYMENTS["training"]["schedules"][0]["active"]


def test_one_run_of_a_deployment_at_a_time_and_what_becomes_of_the_next_is_stated():
    limits = {name: each["concurrency_limit"] for name, each in DEPLOYMENTS.items()}
    assert all(limit["limit"] == 1 for limit in limits.values())
    dropped = {name for name, limit in limits.items() if limit["collision_strategy"] == "CANCEL_NEW"}
    assert dropped == {"training", "watch", "drift-check", "prune"}
    assert all(limits[name]["collision_strategy"] == "ENQUEUE" for name in limits.keys() - dropped)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_flow_knows_types_and_describes_each_parameter_and_no_other_is_given(name):
    file, _, function = DEPLOYMENTS[name]["entrypoint"].partition(":")
    if not (ROOT / file).is_file():
        pytest.skip(f"{file} is not there yet")
    flow = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), function)
    assert flow.name == name
    known = parameter_schema(flow).properties
    assert set(DEPLOYMENTS[name]["parameters"]) == set(known)
    assert all(each.get("description") and ("type" in each or "enum" in each) for each in known.values()), known


@pytest.mark.parametrize("name", ["prefect.yaml", "deploy/compose.yaml", "deploy/nginx.conf"])
def test_no_machine_path_and_no_secret_is_committed(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"/(home|root|work|Users|tmp)/", text)
    assert not re.search(r"(?i)(password|token|secret|auth_string)\s*[:=]\s*[\"']?\w", text)


def test_a_worker_runs_a_flow_in_the_folder_of_its_clone():
    assert "set_working_directory" in (ROOT / "prefect.yaml").read_text().partition("deployments:")[0]


# Two networks on one Prefect server.


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Makes a project whose model has this name the working folder."""
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def enter(model):
        folder = tmp_path / model
        folder.mkdir(exist_ok=True)
        (folder / "params.yaml").write_text(f"tracking: {{experiment: {model}, model: {model}}}")
        monkeypatch.chdir(folder)
        return folder

    return enter


def test_deployments_and_pools_have_the_name_of_the_model_behind_theirs(network):
    given = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    network("Zeek_lan")
    found = deploy.named(given)
    assert found["pull"] == given["pull"]
    for before, after in zip(given["deployments"], found["deployments"], strict=True):
        assert after["name"] == f"{before['name']}-Zeek_lan"
        assert after["work_pool"] == before["work_pool"] | {"name": f"{before['work_pool']['name']}-Zeek_lan"}
        assert after["tags"] == [*before["tags"], "Zeek_lan"]
        for key in before.keys() - {"name", "work_pool", "tags"}:
            assert after[key] == before[key]


@pytest.mark.parametrize(
    ("model", "name", "key"),
    [
        ("flowsculpt", "gpu", "drift-check"),
        ("zeek", "gpu-zeek", "drift-check-zeek"),
        ("A_b", "gpu-A_b", "drift-check-a-b"),
    ],
)
def test_the_shipped_name_leaves_every_other_name_as_it_is(network, model, name, key):
    network(model)
    assert (own("gpu"), artefact_key("drift-check")) == (name, key)


def test_a_file_that_is_not_there_is_named(network):
    network("zeek")
    with pytest.raises(ConfigError, match=r"prefect.yml: no such file; one in the form of prefect.yaml"):
        deploy.put(Path("prefect.yml"))


def test_what_is_deployed_says_which_schedules_are_off_and_how_they_are_switched_on():
    """A schedule that is off looks on Prefect's page like one that is about to start."""
    settings = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    *each, way = deploy.schedules(settings, Path("prefect.yaml"))
    assert "schedule on: training, 0 2 * * * UTC" in each
    assert "schedule off: scoring, */15 * * * * UTC" in each and "schedule off: drift-check, 0 * * * * UTC" in each
    assert way.endswith("To switch it on, set active: true in prefect.yaml and deploy again.")


def test_schedules_that_are_all_on_need_no_way_to_switch_them_on():
    rules = [{"interval": 60}, {"rrule": "FREQ=DAILY", "timezone": "Asia/Tokyo", "active": True}]
    found = deploy.schedules({"deployments": [{"name": "a", "schedules": rules}, {"name": "b"}]}, Path("p.yaml"))
    assert found == ["schedule on: a, every 60 s", "schedule on: a, FREQ=DAILY Asia/Tokyo"]


def test_two_networks_keep_their_deployments_pools_and_limits_apart(network, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "find_devices", lambda: ())
    login, options = "who:knows", ("--no-services", "--no-ui", "--log-level", "ERROR")
    with temporary_settings({PREFECT_HOME: tmp_path}), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path))
        server = servers.prefect(servers.free_port(), login=login, options=options)
        with server as api, temporary_settings({PREFECT_API_URL: api}):
            patch.setenv("PREFECT_API_URL", api)
            patch.setenv(access.PREFECT_CLIENT, login)
            patch.setenv(channels.variable("webhook"), "http://127.0.0.1:9/told")
            for model in ("flowsculpt", "zeek"):
                _deploy_scoring(network(model))
            with get_client(sync_client=True) as client:
                found = {each.name: (each.work_pool_name, each.tags) for each in client.read_deployments()}
                limits = {each.name for each in client.read_global_concurrency_limits()}
                told = {each.name for each in client.read_automations()}
    assert found == {
        "scoring": ("gpu", ["flowsculpt", "scoring"]),
        "scoring-zeek": ("gpu-zeek", ["flowsculpt", "scoring", "zeek"]),
    }
    assert {"promotion", "promotion-zeek"} <= limits
    assert "schedule off: scoring-zeek, */15 * * * * UTC\n" in capsys.readouterr().out
    assert {"flowsculpt-run-failed", "flowsculpt-run-failed-zeek"} <= told


@pytest.mark.parametrize("error", [ConfigError("no address at https://me:hush@sink.example"), PrefectException("no")])
def test_what_keeps_notifications_from_the_server_is_a_warning(network, monkeypatch, error):
    def refuse(_):
        raise error

    monkeypatch.setattr(deploy.automations, "done", refuse)
    (network("zeek") / "params.yaml").write_text(NOTIFY % "webhook")
    (line,) = deploy.notify()
    assert line.startswith("warning: no notifications: no") and "run `flowsculpt automations apply`" in line
    assert "hush" not in line


@pytest.mark.parametrize("content", [None, "{}", "tracking: {}", NOTIFY % ""])
def test_who_names_no_channel_is_not_asked_for_one(network, monkeypatch, content):
    monkeypatch.setattr(deploy.automations, "done", lambda _: pytest.fail("applied"))
    path = network("zeek") / "params.yaml"
    path.unlink() if content is None else path.write_text(content)
    assert deploy.notify() == []


def _deploy_scoring(folder):
    """Deploy the scoring flow alone: the others take seconds each to import."""
    for package in ("flows", "pipeline"):
        (folder / package).symlink_to(ROOT / package)
    settings = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    settings["deployments"] = [each for each in settings["deployments"] if each["name"] == "scoring"]
    (folder / "prefect.yaml").write_text(yaml.safe_dump(settings))
    with (folder / "params.yaml").open("a") as file:
        file.write("\nworkers: {gpu_workers: 0}\n" + NOTIFY % "webhook")
    assert deploy.main([]) == 0, "no worker has made the pool before"
