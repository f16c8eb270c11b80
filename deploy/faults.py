"""What is done to the stack that it must bear: kills, restarts, a store that is away, a full disk."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
import psutil

from deploy import backup as backups
from deploy import objects, parts
from deploy.disks import filled
from deploy.life import SEED, Life
from deploy.notified import wait_for
from deploy.repository import git
from deploy.tried import Table, require
from deploy.upgrades import upgraded
from deploy.visitor import until
from pipeline import tracking
from pipeline.artifacts import paths

USERS: Final = ("prefect", "mlflow", "worker-1", "worker-2", "worker-3", "watch", "triage")
FULL: Final = 20.0  # seconds for which the disk of the watch is full


class Faults:
    """Rounds of faults.

    Args:
        life: of the stack.
        table: gets what was tried.
        away: seconds for which the S3 store does not answer.
        small: whether the clone of the watch has a small disk of its own.
    """

    def __init__(self, life: Life, table: Table, away: float, small: bool) -> None:
        self.life, self.stack, self.visitor, self.table = life, life.stack, life.visitor, table
        self._away, self._small = away, small

    def bear(self) -> None:
        """All of them."""
        attempt = self.table.attempt
        for name in ("prefect", "mlflow", "postgres"):
            attempt(
                f"{name} is killed with -9 while a model is trained", partial(self.trains_on, partial(self.kill, name))
            )
        attempt("the worker of a training is killed with -9", self.worker_dies)
        attempt("it is killed and stays away: a notification comes", self.worker_lost)
        attempt("PostgreSQL is restarted while a model is trained", partial(self.trains_on, self.restart))
        attempt(f"the S3 store is away for {self._away:g} s", partial(self.trains_on, self.store_away, "evaluate"))
        if parts.keeps_objects():
            attempt("the S3 store is killed with -9", partial(self.trains_on, partial(self.kill, "store"), "evaluate"))
        else:
            self.table.skip("the S3 store is killed with -9", "moto_server keeps objects in memory alone")
        for name in ("proxy", "triage", "worker-3"):
            attempt(f"{name} is killed with -9", partial(self.comes_back, name))
        attempt("worker-3 is killed and stays away: a notification comes", self.worker_late)
        attempt("the watch is killed with -9 while a file comes", self.watch_dies)
        if self._small:
            attempt("the disk of the watch is full", self.disk_full)
        else:
            self.table.skip("the disk of the watch is full", "a small disk needs the right to mount one")
        attempt("databases of earlier versions are upgraded", partial(upgraded, self.stack, self.visitor))
        attempt("databases and buckets are lost, and restored", self.restored)
        attempt("the clone of the watch is lost, and restored", self.clone_restored)

    # A model is trained meanwhile.

    def trains_on(self, fault: Callable[[], str], stage: str = "") -> str:
        """A fault comes while a stage runs; the run completes, and all of it is in MLflow."""
        run = self.visitor.start("training/training", force=True, promote=False)
        self.stage_of(run, stage)
        said = fault()
        self.visitor.completed(run, 900)
        return f"{said}; {self.whole(run)}"

    def stage_of(self, run: str, stage: str = "") -> str:
        """Wait until a stage of a run works; returns the worker."""
        word = f"pipeline.stages.{stage}"

        def working() -> str | None:
            for name in ("worker-1", "worker-2"):
                if any(word in _line(each) for each in self.stack.processes(name)):
                    return name
            return None

        return until(working, 300, f"a stage of the run {run}")

    def whole(self, run: str) -> str:
        """Whether a run is in MLflow once, finished, with its files; says so in words."""
        wanted = f"tags.`{tracking.FLOW_RUN}` = '{run}' and tags.`{tracking.KIND}` = 'pipeline'"
        experiment = self.visitor.mlflow("experiments/get-by-name", experiment_name="flowsculpt")["experiment"]
        body = {"experiment_ids": [experiment["experiment_id"]], "filter": wanted}
        login = f"flowsculpt:{self.visitor.secret('mlflow')}"
        found = self.visitor.knock("mlflow", "/api/2.0/mlflow/runs/search", login, "POST", body).json().get("runs", [])
        require(len(found) == 1, f"MLflow has {len(found)} runs of it")
        info = found[0]["info"]
        require(info["status"] == "FINISHED", f"its run in MLflow is {info['status']}")
        files = self.visitor.mlflow("artifacts/list", run_id=info["run_id"]).get("files", [])
        require(files, "its run in MLflow has no files")
        return f"the run is whole, after {self.visitor.run(run)['run_count']} starts"

    def kill(self, name: str) -> str:
        """Kill a service, and wait until it is well again; says how long that took."""
        begun, head, before = time.monotonic(), self.stack.head(name), self.stack.processes(name)
        require(head, f"{name} does not run")
        assert head is not None
        head.kill()
        until(lambda: self.stack.head(name) not in {None, *before}, 120, f"another {name}")
        self.stack.wait(name)
        return f"well again after {time.monotonic() - begun:.0f} s"

    def restart(self) -> str:
        """End PostgreSQL as an upgrade of the machine would."""
        begun, head = time.monotonic(), self.stack.head("postgres")
        require(head, "postgres does not run")
        assert head is not None
        head.send_signal(signal.SIGINT)  # its fast shutdown
        until(lambda: self.stack.head("postgres") not in {None, head}, 120, "another postgres")
        self.stack.wait("postgres")
        return f"well again after {time.monotonic() - begun:.0f} s"

    def store_away(self) -> str:
        """The store answers nobody for a while.

        Its process is stopped by SIGSTOP and goes on after that, so objects that it keeps in memory survive. It
        is worse than a closed port: the kernel still takes connections, and whoever asks waits for an answer.
        """
        for process in self.stack.processes("store"):
            process.suspend()
        try:
            time.sleep(self._away)
        finally:
            for process in self.stack.processes("store"):
                process.resume()
        return f"away for {self._away:g} s"

    def worker_dies(self) -> str:
        """The worker is killed, and its run with it; the next worker takes the run up."""
        run = self.visitor.start("training/training", force=True, promote=False)
        name = self.stage_of(run)
        said = self.kill(name)
        self.visitor.completed(run, 900)
        return f"{name} {said}; {self.whole(run)}"

    def worker_lost(self) -> str:
        """The worker is killed, and its run with it; a notification comes, and once it is back the run goes on."""
        begun = self.life.sink.count
        run = self.visitor.start("training/training", force=True, promote=False)
        name = self.stage_of(run)
        self.kill_for_good(name)
        try:
            seconds = wait_for(self.life.sink, "a run gives no sign of life", run, begun)
        finally:
            self.stack.start(name)
        self.visitor.completed(run, 900)
        return f"{name} was away, it came after {seconds:.0f} s; {self.whole(run)}"

    def worker_late(self) -> str:
        """Nobody takes a run of the pool; a notification comes, and once the worker is back the run completes."""
        begun = self.life.sink.count
        self.kill_for_good("worker-3")
        try:
            run = self.visitor.start("drift-check/drift-check", dry_run=True)
            seconds = wait_for(self.life.sink, "a run does not start", run, begun)
        finally:
            self.stack.start("worker-3")
        self.visitor.completed(run)
        return f"it came after {seconds:.0f} s; the run completed"

    def kill_for_good(self, name: str) -> None:
        """Kill a service with all that it has started; it is not started again until ``start``."""
        head = self.stack.head(name)
        require(head, f"{name} does not run")
        assert head is not None
        head.kill()  # its guard then kills what it has started
        self.stack.stop(name)
        until(lambda: not self.stack.processes(name), 60, f"the end of {name}")

    # Others.

    def comes_back(self, name: str) -> str:
        """A service that nobody needs just now is killed."""
        return self.kill(name)

    def watch_dies(self) -> str:
        """A file is scored whole, and each of its alerts arrives."""
        self.life.arrive("killed.csv", SEED + 3)
        said = self.kill("watch")
        alerts = self.life.alerts("killed.csv")
        twice = self.life.delivered(alerts)
        (table,) = sorted((self.life.desk / paths.SCORED).glob("*killed.csv*.parquet"))
        scored = pd.read_parquet(table)
        lines = len(self.life.records(SEED + 3).read_text(encoding="utf-8", errors="replace").splitlines()) - 1
        require(not scored.record_id.duplicated().any(), "records were judged twice")
        return f"{said}; {len(scored):,} of {lines:,} records judged once, {len(alerts)} alerts, {twice} came twice"

    def disk_full(self) -> str:
        """The disk of the watch is full when a file comes; once there is room, it is scored."""
        draft = self.life.desk / "data" / "full.part"
        draft.write_bytes(self.life.records(SEED + 4).read_bytes())
        with filled(self.life.desk / "filler"):
            draft.replace(self.life.desk / "data" / "incoming" / "full.csv")
            time.sleep(FULL)
            require((self.life.desk / "data" / "incoming" / "full.csv").is_file(), "the file is gone")
        alerts = self.life.alerts("full.csv", 400)
        return f"{len(alerts)} alerts once there was room, {self.life.delivered(alerts)} came twice"

    # Backups.

    def restored(self) -> str:
        """All databases and buckets are lost; the copy brings them back, and the servers go on."""
        env = dict(self.visitor.environment("mlflow")) | parts.superuser(
            self.stack.folders, self.stack.ports["postgres"]
        )
        folder = self.stack.folders.home / "backup"
        said = backups.back_up(folder, env)
        champion, runs = _facts(self.visitor.version("champion")), len(self._runs())
        for name in reversed(USERS):
            self.stack.stop(name)
        for name in backups.DATABASES:
            for command in (("dropdb", "--force", name), ("createdb", f"--owner={name.partition('_')[0]}", name)):
                subprocess.run([parts.program(command[0], "postgresql"), *command[1:]], env=env, check=True)
        for name in backups.BUCKETS:
            objects.clear(name, env)
        backups.restore(folder, env)
        for name in USERS:
            self.stack.start(name)
        found = _facts(self.visitor.version("champion"))
        differing = [name for name in champion | found if champion.get(name) != found.get(name)]
        require(not differing, f"the champion is another one: {differing}")
        require(len(self._runs()) == runs, f"{len(self._runs())} flow runs, and {runs} before")
        files = self.visitor.mlflow("artifacts/list", run_id=champion["run_id"]).get("files", [])
        require(files, "the files of the champion's run are gone")
        return f"{'; '.join(said)}; {runs} flow runs and the champion are back"

    def _runs(self) -> list[object]:
        return list(self.visitor.ask("flow_runs/filter", {"limit": 200}))

    def clone_restored(self) -> str:
        """What the clone of the watch alone holds, such as marks and tables, is back in another clone."""
        env, home = self.visitor.environment("watch"), self.stack.folders.home
        said = self.visitor.command("watch", "python", "-m", "flows.backup", str(home / "desk-backup"))
        fresh = home / "desk-again"
        git(home, env, "clone", "--quiet", str(self.stack.folders.repository), str(fresh))
        own = {**env, "PYTHONPATH": str(fresh), "FLOWSCULPT_ROOT": str(fresh)}
        words = ["python", "-m", "flows.restore", str(home / "desk-backup"), "--replace"]
        done = subprocess.run(words, cwd=fresh, env=own, capture_output=True, text=True, check=False)
        require(not done.returncode, done.stderr[-1500:])
        for folder in (paths.SCORED, paths.LABELS):
            before, after = (_content(root / folder) for root in (self.life.desk, fresh))
            differing = [name for name in before | after if before.get(name) != after.get(name)]
            require(before and not differing, f"{folder} differs: {differing[:3]}")
        return said.splitlines()[0]


def _content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [each for each in path.rglob("*.parquet") if each.is_file()]
    return {each.relative_to(path).as_posix(): each.read_bytes() for each in files}


def _facts(version: Mapping[str, Any]) -> dict[str, Any]:
    """A version as MLflow describes it; the order of its tags means nothing."""
    return {**version, "tags": {each["key"]: each["value"] for each in version["tags"]}}


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
