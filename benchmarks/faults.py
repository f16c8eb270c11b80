"""SIGKILL of stage, worker, MLflow server and Prefect server at random moments of real training runs.

::

    python -m benchmarks.faults [--rounds 20] [--seed 0] [--keep FOLDER]

Each round starts the training deployment on a process worker, kills one process at a moment drawn from the seed, waits
for the end, and takes a run that ended as failed up again, as the button Retry of the UI does. It then checks that the
run is complete, in one MLflow parent run; that no process is left; that the store holds each loss that the stage wrote
to its history; that no temporary file is left and the bundle of the project is whole; that each alias of the model
names a version that can be loaded. It prints a table of the rounds and ends with 1 where a check failed.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from tests.end_to_end.conftest import SMALL, Project
from tests.end_to_end.served import Served, serving, until

TARGETS = ("stage", "flow", "prefect worker", "worker command", "mlflow server", "prefect server")
WORDS = {
    "stage": ("pipeline.stages.",),
    "flow": ("prefect.engine",),
    "prefect worker": ("worker start", "--pool gpu"),
    "worker command": ("-m flows.worker",),
    "mlflow server": ("mlflow", "uvicorn"),
    "prefect server": ("prefect", "server", "start"),
}
QUICK = {
    "stage1": {"encoder": "identity"},
    "stage2": {"detector": "radon", "confidence": {"updates": "never"}, "fit": {"epochs": 250, "patience": 0}},
}
LONGEST_MOMENT = 22.0  # seconds after the run began


@dataclass
class Round:
    """What happened in one round."""

    number: int
    target: str
    moment: float
    killed: str = "-"
    first_end: str = ""
    starts: int = 0
    end: str = ""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def main() -> int:
    """Run the rounds; returns the exit code."""
    parser = argparse.ArgumentParser(description="Kill what a training run needs, at random moments.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the project, which is then left there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(given.keep or Path(folder))
        project.settings(SMALL)
        project.settings(QUICK)
        keep_deployments(project, "training", "promotion")
        project.commit()
        os.chdir(project.folder)
        with serving(project.folder) as served:
            served.wait(served.start("training/training", promote=False), ("COMPLETED",))
            print(header(), flush=True)
            rounds = [play(served, project, number, given.seed) for number in range(1, given.rounds + 1)]
            code = served.stop()
            left = served.processes()
    bad = [each for each in rounds if each.faults or each.end != "COMPLETED"]
    print(f"\n{len(rounds) - len(bad)} of {len(rounds)} rounds without a fault; serve ended with {code}, left {left}")
    return 1 if bad or left else 0


def keep_deployments(project: Project, *names: str) -> None:
    """Leave out of ``prefect.yaml`` what is not under test."""
    path = project.folder / "prefect.yaml"
    whole = yaml.safe_load(path.read_text())
    kept = [{**each, "schedules": []} for each in whole["deployments"] if each["name"] in names]
    path.write_text(yaml.safe_dump({**whole, "deployments": kept}, sort_keys=False))


def play(served: Served, project: Project, number: int, seed: int) -> Round:
    """One round: start, kill, wait, look."""
    draw = random.Random(f"{seed}-{number}")
    played = Round(number, TARGETS[(number - 1) % len(TARGETS)], draw.uniform(0, LONGEST_MOMENT))
    project.settings({"stage2": {"fit": {"seed": number}}})  # the stages from stage2 on have to run
    started = time.monotonic()
    run = served.start("training/training", promote=False)
    served.wait(run, ("RUNNING",))
    time.sleep(played.moment)
    played.killed = kill(served, WORDS[played.target])
    played.first_end = served.wait(run)["type"]
    if played.first_end != "COMPLETED":
        served.again(run)
        until(lambda: served.state(run) not in (played.first_end, "SCHEDULED", "PENDING"), 120, served.log)
    played.end = served.wait(run)["type"]
    played.starts, played.seconds = served.run(run)["run_count"], time.monotonic() - started
    played.faults = [*orphans(served), *untidy(project.folder), *losses(project, run), *aliases(project)]
    print(row(played), flush=True)
    return played


def kill(served: Served, words: tuple[str, ...]) -> str:
    """SIGKILL to the process with these words, as soon as there is one; says which."""
    for _ in range(300):
        if found := served.find(*words):
            victim = found[-1]
            line = " ".join(victim.cmdline())
            victim.kill()
            return next(
                (word.rpartition(".")[2] for word in line.split() if word.startswith("pipeline.stages.")), "yes"
            )
        time.sleep(0.1)
    return "none ran"


def orphans(served: Served) -> list[str]:
    """Processes of the project that the serving process did not start, or that work on no run any more."""

    def stray() -> list[psutil.Process]:
        family = {
            served.process.pid,
            *(each.pid for each in psutil.Process(served.process.pid).children(recursive=True)),
        }
        stages = served.find("pipeline.stages.") + served.find("dvc", "repro") + served.find("prefect.engine")
        return [each for each in served.processes() if each.pid not in family] + stages

    deadline = time.monotonic() + 20
    while (left := stray()) and time.monotonic() < deadline:
        time.sleep(0.3)
    return [f"left: {' '.join(each.cmdline())[:80]}" for each in left if each.is_running()]


def untidy(folder: Path) -> list[str]:
    """Temporary files, and a bundle that is not whole."""
    from pipeline.base.errors import FlowsculptError
    from pipeline.serving.bundle import Bundle

    found = [f"half-written: {path}" for path in (folder / "data").rglob(".*.tmp")]
    try:
        Bundle.of_project(folder / "data")
    except FlowsculptError as error:
        found.append(f"bundle: {error}")
    return found


def losses(project: Project, flow_run: str) -> list[str]:
    """Losses of the history of stage2 that the store lacks, and a flow run with more than one parent."""
    import csv

    client, runs = project.runs()
    parents = [run for run in runs if run.data.tags.get("flowsculpt.flow_run") == flow_run]
    parents = [run for run in parents if run.data.tags.get("flowsculpt.kind") == "pipeline"]
    if len(parents) != 1:
        return [f"{len(parents)} parent runs"]
    found = [] if parents[0].info.status == "FINISHED" else [f"parent {parents[0].info.status}"]
    family = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    stages = [run.info.run_id for run in family if run.data.tags.get("flowsculpt.stage") == "stage2"]
    stored = {(point.step, point.value) for run in stages for point in client.get_metric_history(run, "val_loss")}
    with (project.folder / "data/reports/stage2/history.csv").open() as file:
        written = {(int(line["epoch"]), float(line["val_loss"])) for line in csv.DictReader(file)}
    lost = [(epoch, loss) for epoch, loss in written if not any(e == epoch and abs(v - loss) < 1e-9 for e, v in stored)]
    return [*found, *([f"lost {len(lost)} of {len(written)} losses"] if lost else [])]


def aliases(project: Project) -> list[str]:
    """Aliases that name no version, or one that cannot be loaded."""
    from pipeline.serving import registry
    from pipeline.serving.bundle import Bundle

    found = []
    for alias in ("candidate", "champion", "previous"):
        version = registry.find_version(alias)
        if version is not None:
            Bundle.load(registry.fetch(version))
        elif alias == "candidate":
            found.append("no candidate")
    return found


def header() -> str:
    """The first lines of the table."""
    names = ("round", "killed", "at, s", "in", "first end", "starts", "end", "seconds", "faults")
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def row(played: Round) -> str:
    """A line of the table."""
    faults = "; ".join(played.faults) or "none"
    cells = (played.number, played.target, f"{played.moment:.1f}", played.killed, played.first_end, played.starts)
    return f"| {' | '.join(map(str, (*cells, played.end, f'{played.seconds:.0f}', faults)))} |"


if __name__ == "__main__":
    sys.exit(main())
