"""What training keeps while nobody answers where the MLflow server should be, and what a server gets afterwards.

::

    python -m benchmarks.outage [--trainings 3]

It runs ``dvc repro`` so many times in a copy of the project, each time with other settings, and no server is there.
Then a server starts, and gets what was kept. Each stage of each training must stand there.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from flows.runtime import servers
from flows.runtime.dvc import write_settings
from pipeline.artifacts import paths
from tests.end_to_end.conftest import SMALL, Project

LOGIN = {"MLFLOW_TRACKING_USERNAME": "who", "MLFLOW_TRACKING_PASSWORD": "a password of the benchmark"}
QUICK = {"stage1": {"encoder": "identity"}, "stage2": {"detector": "mahalanobis"}}


def call(project: Project, env: Mapping[str, str], *command: str) -> str:
    """What a command printed."""
    own = {**os.environ, "PYTHONPATH": str(project.folder), **env}
    done = subprocess.run([sys.executable, "-m", *command], cwd=project.folder, env=own, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return done.stdout + done.stderr


def kept(project: Project) -> tuple[int, int]:
    """Files and bytes that wait."""
    files = [path for path in (project.folder / "mlflow.outbox").rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


def main() -> int:
    """Run the benchmark from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trainings", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        project, port = Project(Path(name)), servers.free_port()
        project.settings(SMALL)
        project.settings(QUICK)
        env, began = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}, time.monotonic()
        for number in range(given.trainings):
            write_settings(project.folder / "params.yaml", {"ingest.synthetic.seed": number})
            call(project, env, "dvc", "repro")
            files, size = kept(project)
            print(f"after training {number + 1}: {files:,} files, {size / 1e6:.1f} MB are kept", flush=True)
        print(f"nobody answered for {time.monotonic() - began:.0f} s")
        os.chdir(project.folder)
        os.environ["PREFECT_HOME"] = str(project.folder / ".prefect")
        with servers.mlflow(port, login=":".join(LOGIN.values())) as address:
            call(project, {"MLFLOW_TRACKING_URI": address, **LOGIN}, "pipeline.tracking")
        left = kept(project)
        found = Counter(run.info.run_name for run in project.runs()[1] if run.info.status == "FINISHED")
        lost = {stage: given.trainings - found[stage] for stage in paths.OUTPUTS if found[stage] != given.trainings}
        print(f"delivered: {sum(found.values())} runs; lost: {lost or 'none'}; left: {left[0]} files")
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
