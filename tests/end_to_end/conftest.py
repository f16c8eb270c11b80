"""A copy of the project in a temporary folder, with settings small enough for a test, and one run of its pipeline."""

import os
import re
import shutil
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest
import yaml

from flows.runtime import presets

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SYSTEM = re.compile(r"preprocess\.features\.|stage1\.(encoder|loss)$|stage2\.(detector|head)$|calibrate\.scores$")
PUBLISHED = presets.read("latent_sculpting", ROOT / "presets")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Each file here tells a story of one running system, which its last test may end: tests keep their order.

    Which file comes first is drawn, as everywhere.
    """
    for file in {item.path for item in items if item.path.parent == Path(__file__).parent}:
        places = [place for place, item in enumerate(items) if item.path == file]
        told = sorted((items[place] for place in places), key=lambda item: item.function.__code__.co_firstlineno)
        for place, item in zip(places, told, strict=True):
            items[place] = item


def merged(base, changes):
    """``base`` with the leaves of ``changes`` in place of its own."""
    for key, value in changes.items():
        base[key] = merged(base.get(key) or {}, value) if isinstance(value, dict) else value
    return base


def nested(dotted):
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    whole = {}
    for key, value in dotted.items():
        whole = merged(whole, reduce(lambda inner, part: {part: inner}, reversed(key.split(".")), value))
    return whole


# Latent Sculpting, small: it has the longest trainings, which tests interrupt and resume.
SMALL = merged(
    nested({key: value for key, value in PUBLISHED.items() if SYSTEM.match(key)}),
    {
        "ingest": {"synthetic": {"records": 6000, "seed": 0}},
        "stage1": {"fit": {"epochs": 3, "min_steps": 60, "batch_size": 128}},
        "stage2": {
            "maf": {"layers": 4, "hidden": 64},
            "confidence": {"every_n_epochs": 1, "warm_up": 1},
            "fit": {"epochs": 2},
        },
    },
)


class Project:
    """A folder with a copy of the project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = self._git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").split("\n")
        for name in filter(None, listed):
            if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        self._git(folder, "init", "--quiet")
        self.commit()

    @staticmethod
    def _git(folder, *arguments):
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout

    def commit(self):
        self._git(self.folder, "add", "--all")
        self._git(self.folder, "commit", "--quiet", "--message", "state", "--allow-empty")

    def settings(self, changes):
        path = self.folder / "params.yaml"
        path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), changes), sort_keys=False))

    def call(self, *command, ok=True, **environment):
        """Run a command of the environment's bin folder here; its output, stdout and stderr together."""
        foreign = ("MLFLOW", "PREFECT", "FLOWSCULPT")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        env = kept | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(self.folder)} | environment
        env |= {"GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@localhost"}
        env |= {"GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@localhost"}
        done = subprocess.run(
            command, cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900
        )
        assert (done.returncode == 0) is ok, done.stdout[-4000:]
        return done.stdout

    def runs(self):
        """All MLflow runs, oldest first."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")
        experiments = [each.experiment_id for each in client.search_experiments()]
        return client, client.search_runs(experiments, order_by=["attributes.start_time ASC"])


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The project after one ``dvc repro`` on synthetic records."""
    made = Project(tmp_path_factory.mktemp("synthetic"))
    made.settings(SMALL)
    made.commit()
    made.output = made.call("dvc", "repro")
    return made
