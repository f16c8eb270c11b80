"""Does a registered model judge in an environment that holds its own requirements and nothing else?

::

    python -m benchmarks.fresh_model VERSION_OR_ALIAS [--keep FOLDER]

Downloads the model, makes a virtual environment from the model's own ``requirements.txt``, and judges the model's input
example there, in a process that cannot import this repository. Prints what was installed, the seconds, the judgement.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.serving import own_model, registry
from pipeline.tracking import store

SCORE = """
import importlib.util, json, sys, warnings
assert importlib.util.find_spec("pipeline") is None, "a pipeline was importable before the model brought its own"
warnings.simplefilter("ignore")
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
import pipeline
assert pipeline.__file__.startswith(sys.argv[1]), pipeline.__file__
print(json.dumps(model.predict(model.input_example).to_dict("records")))
"""


def call(*command: str, cwd: Path) -> str:
    """The output of a command; it ends this program where the command fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def download(which: str, folder: Path) -> Path:
    """The whole model of a version, its code and requirements with it."""
    from mlflow.artifacts import download_artifacts

    version = registry.find_version(which)
    if version is None:
        sys.exit(f"no version {which!r} of {own_model.name()}")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    uri = store.client().get_model_version_download_uri(own_model.name(), str(version.number))
    return Path(download_artifacts(uri, dst_path=str(folder), tracking_uri=store.client().tracking_uri)).resolve()


def main() -> None:
    """Install, judge, report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fresh_model", description="Judge in a fresh environment."
    )
    parser.add_argument("version", help="number or alias")
    parser.add_argument("--keep", type=Path, help="leave the environment in this folder")
    given = parser.parse_args()
    folder = (given.keep or Path(tempfile.mkdtemp(prefix="fresh_model."))).resolve()
    try:
        model = download(given.version, folder / "model")
        print((model / "requirements.txt").read_text())
        started = time.monotonic()
        call(sys.executable, "-m", "venv", str(folder / "venv"), cwd=folder)
        python = str(folder / "venv" / "bin" / "python")
        call(python, "-m", "pip", "install", "--quiet", "-r", str(model / "requirements.txt"), cwd=folder)
        installed = json.loads(call(python, "-m", "pip", "list", "--format", "json", cwd=folder))
        print(f"installed {len(installed)} packages in {time.monotonic() - started:.0f} s")
        started = time.monotonic()
        print(call(python, "-I", "-c", SCORE, str(model), cwd=folder).splitlines()[-1])
        print(f"loaded and judged in {time.monotonic() - started:.1f} s")
    finally:
        if not given.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
