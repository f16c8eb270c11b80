"""GPU leases, the worker's pools and limits, and runs whose process is gone, against one real Prefect server."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from contextvars import copy_context
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Cancelling, Pending, Running
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from flows import training, worker
from flows.runtime import access, admission, dvc, gpu, graph, recovery, servers
from flows.runtime.devices import HOST_VARIABLE, host
from pipeline import tracking
from pipeline.base.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
GPU = gpu.Device(0, "GPU-pretend")
LOGIN = "who:knows"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_HOME: home}):
        patch.setenv("PREFECT_HOME", str(home))
        server = servers.prefect(servers.free_port(), login=LOGIN, options=("--no-services", "--no-ui"))
        with server as api, temporary_settings({PREFECT_API_URL: api}):
            yield api


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A working folder whose settings give ``workers.gpu_workers``."""

    def write(value):
        (tmp_path / "params.yaml").write_text(f"workers: {{gpu_workers: {value}}}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(gpu.GPU_WORKERS_VARIABLE, raising=False)
    write("auto")
    return write


# Who is let in.


@pytest.mark.parametrize(
    ("login", "headers", "status"),
    [
        (None, {}, 401),
        (("who", "guesses"), {}, 401),
        (("who", "knows"), {}, 200),
        (("who", "knows"), {"Host": "evil.example"}, 403),
        (("who", "knows"), {"Origin": "http://evil.example"}, 403),
    ],
)
def test_the_server_asks_for_the_login_and_answers_to_its_own_name_and_pages_alone(login, headers, status, api):
    answer = httpx.post(f"{api}/flows/filter", auth=login, headers=headers, trust_env=False)
    assert answer.status_code == status
    assert answer.headers.get("access-control-allow-origin") not in ("*", "http://evil.example")
    assert httpx.get(f"{api}/health", trust_env=False).status_code == 200


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out", "work_pools/cpu/workers/connect"])
def test_a_web_socket_asks_for_the_login_and_refuses_foreign_pages(path, api):
    address = f"{api.replace('http', 'ws', 1)}/{path}"
    offered = {"subprotocols": ["prefect"], "proxy": None}
    for token, welcome in ((LOGIN, True), ("who:guesses", False), (None, False)):
        with connect(address, **offered) as socket:
            socket.send(json.dumps({"type": "auth", "token": token}))
            if welcome:
                assert json.loads(socket.recv(timeout=60))["type"] == "auth_success"
            else:
                with pytest.raises(ConnectionClosedError, match="1008"):
                    socket.recv(timeout=60)
    with pytest.raises(InvalidStatus, match="403"), connect(address, origin="http://evil.example", **offered):
        pytest.fail("it was let in")


# Which devices.


def test_as_many_gpus_as_the_settings_say_and_no_more_than_there_are(settings, monkeypatch):
    pair = (GPU, gpu.Device(1, "GPU-other"))
    monkeypatch.setattr(gpu, "find_devices", lambda: pair)
    assert gpu.usable_devices() == pair
    settings(1)
    assert gpu.usable_devices() == (GPU,)
    settings(0)
    assert gpu.usable_devices() == ()
    settings(3)
    with pytest.raises(ConfigError, match=r"workers.gpu_workers: 3 GPUs are asked for, this machine has 2"):
        gpu.usable_devices()
    monkeypatch.setenv(gpu.GPU_WORKERS_VARIABLE, "0")
    assert gpu.usable_devices() == ()
    monkeypatch.setenv(gpu.GPU_WORKERS_VARIABLE, "some")
    with pytest.raises(ConfigError, match="a number or auto is expected, given 'some'"):
        gpu.usable_devices()


@pytest.mark.parametrize(
    ("visible", "numbers"), [(None, [0, 1]), ("", []), ("1", [1]), ("GPU-b", [1]), ("GPU-a,1", [0, 1]), ("-1", [])]
)
def test_devices_that_are_hidden_are_not_found(visible, numbers, monkeypatch):
    import pynvml

    for name, value in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda number: number,
        "nvmlDeviceGetUUID": lambda number: ["GPU-aaaa", "GPU-bbbb"][number],
    }.items():
        monkeypatch.setattr(pynvml, name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [device.number for device in gpu.find_devices()] == numbers


def test_a_worker_without_a_gpu_refuses_the_pool_gpu_unless_it_is_told_to_use_none(settings, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "find_devices", lambda: ())
    with pytest.raises(ConfigError, match=r"pool 'gpu': this machine has no GPU; .*gpu_workers to 0"):
        worker.choose_pools(["gpu"])
    assert worker.choose_pools(None) == ("cpu",)
    assert "it leaves the pool gpu alone" in capsys.readouterr().out
    settings(0)
    assert worker.choose_pools(["gpu"]) == ("gpu",)
    assert worker.choose_pools(None) == ("cpu", "gpu")


# Leases.


def test_without_devices_a_job_sees_none_and_needs_no_limit():
    with gpu.lease((), print) as env:
        assert env == {"CUDA_VISIBLE_DEVICES": ""}


def test_a_missing_limit_is_an_error(api):
    absent = gpu.Device(7, "GPU-absent")
    with (
        pytest.raises(ConfigError, match=rf"the concurrency limit 'gpu-{host()}-7' does not exist"),
        gpu.lease([absent], print),
    ):
        pytest.fail("held")


def test_a_second_job_waits_for_the_device_and_two_devices_serve_two(api, monkeypatch):
    monkeypatch.setattr(gpu, "SECONDS_BETWEEN_TRIES", 0.05)
    pair = (gpu.Device(2, "GPU-c"), gpu.Device(3, "GPU-d"))
    gpu.ensure_limits({device.limit: 1 for device in pair})
    waits, got = threading.Event(), []

    def third():
        with gpu.lease(pair, lambda line: waits.set() if "waiting" in line else None) as env:
            got.append(env["CUDA_VISIBLE_DEVICES"])

    thread = threading.Thread(target=copy_context().run, args=[third])
    with gpu.lease(pair, print) as first:
        with gpu.lease(pair, print) as second:
            assert {first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]} == {"GPU-c", "GPU-d"}
            thread.start()
            assert waits.wait(60)
            assert got == []
        thread.join(60)
        assert got == [second["CUDA_VISIBLE_DEVICES"]]


def leased(devices, number, waits, log=None):
    """A thread that holds ``number`` of the devices until ``waits`` is set, and the devices that it got."""
    got, has = [], threading.Event()

    def hold():
        with gpu.lease(devices, log or (lambda _: None), number) as env:
            got.extend(env["CUDA_VISIBLE_DEVICES"].split(","))
            has.set()
            assert waits.wait(60)

    thread = threading.Thread(target=copy_context().run, args=[hold])
    thread.start()
    return thread, got, has


def test_a_job_gets_all_devices_that_it_asks_for_or_holds_none(api, monkeypatch):
    monkeypatch.setattr(gpu, "SECONDS_BETWEEN_TRIES", 0.05)
    devices = tuple(gpu.Device(number, f"GPU-{number}") for number in (10, 11, 12))
    gpu.ensure_limits({device.limit: 1 for device in devices})
    ends, waiting = threading.Event(), threading.Event()
    with gpu.lease(devices, print, 2) as env:
        assert env == {"CUDA_VISIBLE_DEVICES": "GPU-10,GPU-11"}
        thread, got, has = leased(devices, 2, ends, lambda line: waiting.set() if "waiting" in line else None)
        assert waiting.wait(60)
        with gpu.lease(devices, print, 1) as third:  # the job that waits for two does not hold it
            assert third == {"CUDA_VISIBLE_DEVICES": "GPU-12"}
        assert not got
    assert has.wait(60)
    ends.set()
    thread.join(60)
    assert len(set(got)) == 2


def test_two_jobs_that_ask_for_several_devices_end_both(api, monkeypatch):
    monkeypatch.setattr(gpu, "SECONDS_BETWEEN_TRIES", 0.01)
    devices = tuple(gpu.Device(number, f"GPU-{number}") for number in (13, 14, 15))
    gpu.ensure_limits({device.limit: 1 for device in devices})
    ends = threading.Event()
    ends.set()
    jobs = [leased(order, 2, ends) for order in (devices, devices[::-1], devices)]
    for thread, got, _ in jobs:
        thread.join(60)
        assert len(set(got)) == 2


def test_more_devices_than_the_machine_may_use_are_refused():
    with (
        pytest.raises(ConfigError, match=r"fit\.devices is 2, but the stages of this machine may use 1 of its GPUs"),
        gpu.lease([GPU], print, 2),
    ):
        pytest.fail("held")


def test_the_gpus_of_two_machines_have_limits_of_their_own(monkeypatch):
    monkeypatch.setenv(HOST_VARIABLE, "left rack/3")
    assert GPU.limit == "gpu-left-rack-3-0"
    monkeypatch.setenv(HOST_VARIABLE, "right")
    assert GPU.limit == "gpu-right-0"


def test_a_limit_of_an_earlier_version_is_held_as_well_and_said_to_be_old(api, settings, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "SECONDS_BETWEEN_TRIES", 0.05)
    device = gpu.Device(16, "GPU-old")
    monkeypatch.setattr(gpu, "find_devices", lambda: (device,))
    gpu.ensure_limits({"gpu-16": 1})
    with gpu.lease([device], print) as env:  # under the old name alone
        assert env == {"CUDA_VISIBLE_DEVICES": "GPU-old"}
    gpu.ensure_devices()
    assert "`prefect gcl delete gpu-16` lets them work side by side" in capsys.readouterr().out
    ends, waiting = threading.Event(), threading.Event()
    with gpu.concurrency("gpu-16", strict=True):  # as a worker of the earlier version holds it
        thread, got, has = leased([device], 1, ends, lambda line: waiting.set() if "waiting" in line else None)
        assert waiting.wait(60)
        assert not got
    assert has.wait(60)
    ends.set()
    thread.join(60)


GRAPH = """
stages:
  plain: {cmd: 'echo "[$CUDA_VISIBLE_DEVICES]" > plain.txt', outs: [plain.txt]}
  stage2:
    cmd: python train.py > train.txt
    meta: {device: true}
    deps: [plain.txt]
    outs: [train.txt]
"""
TRAIN = "import os, time; a = time.time(); time.sleep(3); print([os.environ['CUDA_VISIBLE_DEVICES'], a, time.time()])"
PROGRAM = """
import sys
from pathlib import Path
from pipeline.artifacts import paths
from flows import training
from flows.runtime import gpu
paths.content_hash, paths.METRICS = str, Path("none")
gpu.find_devices = lambda: (gpu.Device(0, "GPU-pretend"), gpu.Device(1, "GPU-second"))
class Version: number = 1
training.register = lambda *_, **__: training.Completed(data=Version())
sys.exit(training.main([]))
"""


def test_two_training_flows_queue_for_the_gpus_that_their_training_stages_alone_see(api, tmp_path):
    foreign = ("MLFLOW", "DVC", "FLOWSCULPT", "CUDA")
    outer = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env = outer | tracking.environment() | {"PREFECT_API_URL": api, access.PREFECT_CLIENT: LOGIN}
    clones = [tmp_path / name for name in ("one", "two")]
    for clone in clones:
        clone.mkdir()
        (clone / "dvc.yaml").write_text(GRAPH)
        (clone / "train.py").write_text(TRAIN)
        (clone / "params.yaml").write_text("workers: {gpu_workers: auto}\nstage2: {fit: {devices: 2}}")
        subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=clone, env=env, check=True)
    running = [subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=clone, env=env) for clone in clones]
    assert [process.wait(240) for process in running] == [0, 0]
    seen = [json.loads((clone / "train.txt").read_text().replace("'", '"')) for clone in clones]
    (device, _, ended), (other, begun, _) = sorted(seen, key=lambda each: each[1])
    assert device == other == "GPU-pretend,GPU-second"
    assert begun >= ended
    assert all((clone / "plain.txt").read_text() == "[]\n" for clone in clones)


# What is tried again.

AWAY = dvc.StageFailedError(graph.Stage("s", "c"), os.EX_TEMPFAIL, ["a server does not answer"])
LOCKED = dvc.StageFailedError(graph.Stage("s", "c"), 255, ["ERROR: failed to reproduce 's': Unable to acquire lock."])
BROKEN = dvc.StageFailedError(graph.Stage("s", "c"), 1, ["s: the records are bad"])


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (ConnectionRefusedError(), 2),
        (httpx.ConnectError("away"), 2),
        (AWAY, 2),
        (LOCKED, 2),
        (BROKEN, 1),
        (DataError("bad"), 1),
        (ConfigError("bad"), 1),
    ],
)
def test_what_can_heal_is_tried_again_and_bad_data_never(error, tries, api, settings, monkeypatch):
    calls = []

    def fail_once(*_):
        calls.append(1)
        if len(calls) == 1:
            raise error
        return dvc.Outcome.RAN

    monkeypatch.setattr(dvc, "reproduce", fail_once)
    at_once = training.reproduce.with_options(retry_delay_seconds=[0, 0, 0])

    @flow(name="trial")
    def trial():
        return at_once(graph.Stage("s", "c"), "parent", False, return_state=True)

    state = trial(return_state=True)
    assert len(calls) == tries
    assert state.is_completed() is (tries == 2)


# Pools, limits and runs.


def test_pools_and_limits_are_made_once_and_kept_as_they_are(api, settings, monkeypatch):
    monkeypatch.setattr(gpu, "find_devices", lambda: (gpu.Device(5, "GPU-e"),))
    worker.prepare(("cpu", "gpu"))
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(f"gpu-{host()}-5", _limit(2))
        worker.prepare(("cpu", "gpu"))
        assert client.read_global_concurrency_limit_by_name(f"gpu-{host()}-5").limit == 2
        assert client.read_global_concurrency_limit_by_name("promotion").limit == 1
        assert {client.read_work_pool(name).type for name in ("cpu", "gpu")} == {"process"}


COMMAND = {"command": "touch taken", "env": {"LD_PRELOAD": "x"}, "working_dir": "/"}


@pytest.mark.parametrize("variable", COMMAND)
def test_no_run_chooses_what_a_pool_starts(variable, api, settings, monkeypatch):
    """A pool that Prefect made takes a command from each run; one that exists already is changed."""
    from prefect.client.schemas.actions import WorkPoolUpdate
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

    monkeypatch.setattr(gpu, "find_devices", lambda: ())
    worker.prepare(("cpu",))
    with get_client(sync_client=True) as client:
        open_to_all = ProcessWorker.get_default_base_job_template()
        client.update_work_pool("cpu", WorkPoolUpdate(base_job_template=open_to_all))
        worker.prepare(("cpu",))
        template = client.read_work_pool("cpu").base_job_template
        given = {variable: COMMAND[variable]}
        made = client.create_deployment(client.create_flow(nothing), f"with {variable}", work_pool_name="cpu")
        with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
            client.create_flow_run_from_deployment(made, job_variables=given)
    started = asyncio.run(ProcessJobConfiguration.from_template_and_values(template, given))
    assert (started.command, started.env, started.working_dir) == (admission.COMMAND, {}, None)


def _limit(slots):
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

    return GlobalConcurrencyLimitUpdate(limit=slots)


@flow(name="nothing")
def nothing():
    """Does nothing."""


@pytest.fixture
def begun(api):
    """Make a flow run that a worker of some name took and that is in some state."""
    with get_client(sync_client=True) as client:

        def make(name, state, starts=1):
            run = client.create_flow_run(nothing)
            client._client.patch(f"/flow_runs/{run.id}/labels", json={"prefect.worker.name": name})
            for _ in range(starts):
                client.set_flow_run_state(run.id, Running(), force=True)
            client.set_flow_run_state(run.id, state, force=True)
            return run.id

        yield lambda *arguments: _Known(client, make(*arguments))


class _Known:
    def __init__(self, client, number):
        self.id, self._client = number, client

    @property
    def state(self):
        return self._client.read_flow_run(self.id).state

    def take_up(self):
        """What a worker does first."""
        self._client.set_flow_run_state(self.id, Pending(), force=True)


def test_a_run_whose_process_is_gone_goes_on_and_those_of_others_are_left_alone(begun, monkeypatch):
    lost, cancelling, elsewhere, alive = (
        begun(name, state)
        for name, state in (
            ("gpu@here", Running()),
            ("gpu@here", Cancelling()),
            ("gpu@far", Running()),
            ("gpu@here", Running()),
        )
    )
    fresh = begun("gpu@here", Pending())
    monkeypatch.setattr(recovery, "_working", lambda: {alive.id})
    assert recovery.revive(["gpu@here"], seen={cancelling.id}) == {lost.id, cancelling.id}
    assert (lost.state.name, cancelling.state.name) == ("Running", "Cancelled")  # its worker may yet tell
    assert recovery.revive(["gpu@here"]) == {lost.id}
    assert (lost.state.name, cancelling.state.name) == ("AwaitingRetry", "Cancelled")
    assert elsewhere.state.is_running()
    assert alive.state.is_running()
    assert fresh.state.is_pending()  # it has time yet to start its process
    monkeypatch.setattr(recovery, "TIME_TO_START", timedelta(0))
    assert recovery.revive(["gpu@here"]) == {fresh.id}


def test_what_loses_its_process_each_time_is_given_up(begun, monkeypatch):
    monkeypatch.setattr(recovery, "_working", set)
    run = begun("gpu@there", Running(), recovery.MOST_STARTS)
    assert recovery.revive(["gpu@there"]) == {run.id}
    assert run.state.is_crashed()
    assert recovery.revive(["gpu@there"]) == set()


def test_what_never_begins_is_given_up_as_well(begun, monkeypatch):
    """Prefect counts no start of a run whose process ends before the flow begins."""
    monkeypatch.setattr(recovery, "_working", set)
    monkeypatch.setattr(recovery, "TIME_TO_START", timedelta(0))
    run = begun("gpu@nowhere", Pending(), 0)
    for _ in range(recovery.MOST_STARTS - 1):
        assert recovery.revive(["gpu@nowhere"]) == {run.id}
        assert run.state.name == "AwaitingRetry"
        run.take_up()
    assert recovery.revive(["gpu@nowhere"]) == {run.id}
    assert run.state.is_crashed()
    assert f"{recovery.MOST_STARTS} times" in run.state.message
    assert recovery.revive(["gpu@nowhere"]) == set()


def test_a_program_whose_variables_name_no_run_ends_no_worker(monkeypatch):
    run = uuid4()
    found = [SimpleNamespace(environ=lambda v=v: {"PREFECT__FLOW_RUN_ID": v}) for v in ("", "none of ours", str(run))]
    monkeypatch.setattr(recovery.psutil, "process_iter", lambda: found)
    assert recovery._working() == {run}


def test_a_server_that_is_away_ends_no_worker():
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{servers.free_port()}/api"}):
        recovery.try_to_revive(["gpu@here"])


def test_a_machine_whose_host_name_changes_keeps_the_name_that_it_is_given(monkeypatch):
    monkeypatch.setenv("FLOWSCULPT_HOST", "worker-1")
    assert worker.name_of("gpu") == "gpu@worker-1"
    monkeypatch.delenv("FLOWSCULPT_HOST")
    assert worker.name_of("gpu") == f"gpu@{socket.gethostname()}"
