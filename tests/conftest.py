"""Settings for every test, and the rule that no test leaves its process other than it found it."""

import logging
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipeline.tracking import store

# A busy machine draws slowly: how long an example takes says nothing about what it shows.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# MLflow's first call sets these for good: the first test that makes it would leave them behind.
for name, value in (store.environment() | store.SERVER_SETTINGS).items():
    os.environ.setdefault(name, value)

KEY, SECRET = "testing-key-of-nobody", "testing-s3cret-of-nobody"  # of the object store
OURS = ("CUDA_", "DVC_", "FLOWSCULPT_", "MLFLOW_", "MPL", "OMP_", "PATH", "PREFECT_", "PYTHON")  # libraries set others


class _AtOnce:
    """Names each test that fails at once: a run that is cut off prints no summary."""

    def __init__(self, config):
        self._plugins = config.pluginmanager

    def pytest_runtest_logreport(self, report):
        if report.failed and (terminal := self._plugins.get_plugin("terminalreporter")):
            terminal.write_line(f"\nFAILED {report.nodeid} ({report.when}): {report.longreprtext[-300:]}")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # where tests run in several processes, the one that prints
        config.pluginmanager.register(_AtOnce(config))


def _state():
    """What tests that come later could stumble over."""
    state = {number.name: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)}
    state |= {"folder": Path.cwd(), "logging": logging.getLogger().level}
    state |= {f"${name}": value for name, value in os.environ.items() if name.startswith(OURS)}
    if torch := sys.modules.get("torch"):
        state |= {"torch threads": torch.get_num_threads(), "torch dtype": torch.get_default_dtype()}
        state |= {"torch deterministic": torch.are_deterministic_algorithms_enabled()}
    if matplotlib := sys.modules.get("matplotlib"):
        state |= {"matplotlib": matplotlib.get_backend(auto_select=False)}
    return state


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    before, import_path = _state(), [*sys.path]
    yield
    sys.path[:] = import_path  # MLflow puts the code of each model that it loads first, for good
    after = _state()
    left = {name for name in before.keys() | after.keys() if before.get(name, after.get(name)) != after.get(name)}
    left |= {name for name in after.keys() - before.keys() if name.startswith("$")}
    assert not left, f"the test leaves behind: {', '.join(sorted(left))}"


# An object store: a server of this machine that speaks S3.


@pytest.fixture(scope="session")
def endpoint():
    """The address of the S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def login(monkeypatch, tmp_path):
    """Credentials by variables, and nothing of the machine's own."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    files = {"AWS_CONFIG_FILE": tmp_path / "no-config", "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "no-credentials"}
    own = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**files, **own, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, str(value))


@pytest.fixture
def bucket(endpoint, login, monkeypatch):
    """An empty bucket of that name: a client of it that uploads, lists and removes."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    made = boto3.resource("s3").Bucket("bucket")
    made.create()
    yield made
    made.objects.all().delete()
    made.delete()
