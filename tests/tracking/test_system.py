"""System metrics: of the host, of the process tree and of the GPUs that the process may use, and of no others."""

import subprocess
import sys
import time

import pytest

from pipeline.tracking import monitor

UUIDS = ["GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3"]


@pytest.fixture
def gpus(monkeypatch):
    """Three GPUs, as MLflow's monitor and NVML would show them."""
    import pynvml

    class Monitor:
        def __init__(self):
            self.gpu_handles, self.num_gpus = list(range(3)), 3

    monkeypatch.setattr(monitor, "GPUMonitor", Monitor)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: UUIDS[handle])


@pytest.mark.parametrize(
    ("shown", "handles"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        ("GPU-c,GPU-bbbb-2", [2, 1]),
        ("GPU-bbbb-2", [1]),
        ("GPU-c", [2]),
        ("7", []),
        ("x", []),
    ],
)
def test_only_the_gpus_that_the_process_may_use_are_watched(gpus, monkeypatch, shown, handles):
    if shown is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    watched = monitor._gpus()
    assert [handle for monitor in watched for handle in monitor.gpu_handles] == handles
    assert all(monitor.num_gpus == len(handles) for monitor in watched)


def test_a_machine_without_a_gpu_has_no_gpu_metrics(monkeypatch):
    class Monitor:
        def __init__(self):
            raise RuntimeError("no driver")

    monkeypatch.setattr(monitor, "GPUMonitor", Monitor)
    assert monitor._gpus() == []


def _sample(tree):
    tree.clear_metrics()
    tree.collect_metrics()
    return tree.aggregate_metrics()


def test_the_process_tree_holds_the_processes_that_it_started():
    tree = monitor.ProcessTree()
    alone = _sample(tree)
    code = "x = bytearray(300_000_000); print(1, flush=True); s = 0\nwhile True: s += 1"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as busy:
        busy.stdout.readline()
        time.sleep(0.5)
        both = _sample(tree)
        busy.kill()
    assert both["process_count"] == alone["process_count"] + 1
    assert both["process_memory_megabytes"] > alone["process_memory_megabytes"] + 250
    assert both["process_cpu_seconds"] > alone["process_cpu_seconds"]
    assert both["process_cpu_percentage"] > 0


def test_every_sample_tells_of_host_and_process():
    logged = {}
    watch = monitor.Monitor(lambda values, step: logged.update(values), 0)
    watch.start()
    watch.finish()
    host = {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"}
    tree = {f"system/process_{name}" for name in ("cpu_percentage", "cpu_seconds", "memory_megabytes", "count")}
    assert host | tree <= set(logged)
