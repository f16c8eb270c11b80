"""The life of a model on the stack: trained by a schedule, promoted, scored, marked, trained again, rolled back."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pandas as pd
import yaml

from deploy import notified, objects
from deploy.receiver import Receiver, Sink
from deploy.repository import git
from deploy.stack import ROOT, Stack
from deploy.tried import Table, require
from deploy.visitor import Visitor, read_lines, until
from pipeline.artifacts import paths

EVERY: Final = 5  # seconds between two runs of the schedule
RECORDS, SEED = 6000, 7
DAY: Final = "Friday-WorkingHours-Afternoon-PortScan.pcap_ISCX.csv"
ATTACK: Final = "port scan"
MARKS: Final = 5
SMALL: Final[dict[str, Any]] = {
    "ingest": {"synthetic": {"records": RECORDS}},
    "stage2": {"calibration": {"folds": 2}, "boosting": {"trees": 40}},
    "evaluate": {"bootstrap": {"rounds": 100}, "latent_map_rows": 200},
    "promotion": {"min_benign": 200, "rounds": 100},
}
NOTIFY: Final[dict[str, Any]] = {"channels": ["webhook"], "late": 60.0, "again": 0.0}
QUICK: Final = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # the shortest that Prefect takes; ``late`` is longer
}


def merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the leaves of ``changes`` in place of its own."""
    for key, value in changes.items():
        base[key] = merged(base.get(key) or {}, value) if isinstance(value, dict) else value
    return base


def settings(receiver: Receiver) -> dict[str, str]:
    """Files of the repository: a small model, alerts by syslog, notifications, a schedule that comes due at once."""
    syslog = {"transport": "tcp", "address": receiver.address}
    own = {
        **SMALL,
        "alerts": {"sinks": {"active": ["syslog"], "syslog": syslog}},
        "watch": {"port": 0, "settle": 1.0},
        "notify": NOTIFY,
    }
    params = merged(yaml.safe_load((ROOT / "params.yaml").read_bytes()), own)
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_bytes())
    training = next(each for each in deployed["deployments"] if each["name"] == "training")
    training["schedules"] = [{"interval": EVERY, "active": True}]
    return {
        name: yaml.safe_dump(content, sort_keys=False)
        for name, content in {"params.yaml": params, "prefect.yaml": deployed}.items()
    }


class Life:
    """What is done with the stack, one after the other.

    Args:
        stack: that runs.
        receiver: of syslog, whom the settings of the stack name.
        sink: of the notifications, whose address is a secret of the stack.
        table: gets what was tried.
    """

    def __init__(self, stack: Stack, receiver: Receiver, sink: Sink, table: Table) -> None:
        self.stack, self.receiver, self.sink, self.table = stack, receiver, sink, table
        self.visitor = Visitor(stack)
        self.desk = stack.services["watch"].root

    def live(self) -> None:
        """All of it."""
        attempt = self.table.attempt
        attempt("TLS, and a login at each server", self.doors)
        if not attempt("a schedule trains, the gate promotes", self.trained, True):
            return
        attempt("its files are read in another clone, through MLflow", self.readable)
        attempt("the watch scores a file, alerts reach syslog", self.watched, True)
        attempt("the deployment scores an object of the S3 store", self.scored)
        attempt("the triage page shows the incident", self.triaged)
        attempt(f"{MARKS} marks by flowsculpt label, brought to the trainers", self.marked)
        attempt("the next training learns them", self.retrained)
        attempt("a rollback by the deployment", self.rolled_back)
        attempt("a drift check by the deployment", self.drift)
        for what, act in notified.trials(self.visitor, self.sink).items():
            attempt(f"{what}: a notification comes", act)

    def doors(self) -> str:
        """Nobody gets in without a login, and everybody with one does."""
        mlflow, login = (
            "/api/2.0/mlflow/experiments/search?max_results=1",
            f"flowsculpt:{self.visitor.secret('mlflow')}",
        )
        asked = {
            ("prefect", "/api/admin/version", self.visitor.secret("prefect")): (401, 200),
            ("mlflow", mlflow, login): (401, 200),
        }
        for (name, path, secret), expected in asked.items():
            found = tuple(self.visitor.knock(name, path, each).status_code for each in ("", secret))
            require(found == expected, f"{name}: {found}, and not {expected}")
        page = self.visitor.knock("triage", "/")
        require(page.status_code in {200, 303, 401}, f"triage: {page.status_code}")
        return "401 without, 200 with it"

    # A model.

    def trained(self) -> str:
        """A scheduled run trains on a worker, and its model is promoted."""
        deployment = self.visitor.deployment("training/training")

        def first() -> dict[str, Any] | None:
            asked = {"deployments": {"id": {"any_": [deployment["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
            runs = self.visitor.ask("flow_runs/filter", asked)
            return next((run for run in runs if run["state"]["type"] == "RUNNING" and run["auto_scheduled"]), None)

        run = until(first, 180, "a run of the schedule")
        for schedule in deployment["schedules"]:
            where = f"deployments/{deployment['id']}/schedules/{schedule['id']}"
            self.visitor.ask(where, {"active": False}, "PATCH")
        self.visitor.completed(run["id"])
        require(self.visitor.number("champion") == 1, f"the champion is {self.visitor.number('champion')}")
        return f"version 1 by {self.worker_of(run['id'])}"

    def worker_of(self, run: str) -> str:
        """Which worker took a run."""
        return str(self.visitor.run(run).get("labels", {}).get("prefect.worker.name", "?"))

    def readable(self) -> str:
        """A clone that did not train verifies the champion, whose files lie in the S3 store."""
        said = self.visitor.command("watch", "python", "-m", "flows.verify")
        experiment = self.visitor.mlflow("experiments/get-by-name", experiment_name="flowsculpt")["experiment"]
        place = experiment["artifact_location"]
        require(place.startswith("mlflow-artifacts:"), place)
        kept = objects.keys("mlflow", self.visitor.environment("worker-1"))
        require(kept, "the bucket is empty")
        return f"{place}, {len(kept):,} objects in s3://mlflow; {said.splitlines()[0][:60]}"

    # Alerts.

    def records(self, seed: int) -> Path:
        """A file of records that nobody has seen, with a port scan in it."""
        folder = self.stack.folders.home / f"records-{seed}"
        words = ("python", "-m", "pipeline.datasets.synthetic", str(folder), "--records", "4000", "--seed", str(seed))
        if not folder.exists():
            self.visitor.command("watch", *words)
        return next(folder.glob(DAY))

    def arrive(self, name: str, seed: int) -> None:
        """Put a file before the watch, whole."""
        draft = self.desk / "data" / f"{name}.part"
        shutil.copy(self.records(seed), draft)
        draft.replace(self.desk / "data" / "incoming" / name)

    def alerts(self, name: str, seconds: float = 240.0) -> pd.DataFrame:
        """The alerts of a file that the watch has scored."""

        def tables() -> list[Path]:
            return sorted((self.desk / paths.SCORED / "alerts").glob(f"*{name}*.parquet"))

        (path, *_) = until(tables, seconds, f"the alerts of {name}")
        return pd.read_parquet(path)

    def delivered(self, alerts: pd.DataFrame, seconds: float = 120.0) -> int:
        """Wait until each alert has reached syslog; how often one came more than once."""
        keys = list(alerts.alert)
        require(keys, "there is no alert")

        def absent() -> bool:
            return all(self.receiver.count(key) for key in keys)

        until(absent, seconds, f"all {len(keys)} alerts")
        return sum(self.receiver.count(key) > 1 for key in keys)

    def watched(self) -> str:
        """The watch judges a file, and syslog gets each alert."""
        self.arrive("friday.csv", SEED)
        alerts = self.alerts("friday.csv")
        twice = self.delivered(alerts)
        return f"{len(alerts)} alerts of one file, {twice} came twice"

    def scored(self) -> str:
        """A worker scores what lies in the S3 store."""
        client = objects.client(self.visitor.environment("worker-1"))
        client.upload_file(str(self.records(SEED + 1)), "dvc", "incoming/later.csv")
        run = self.visitor.start("scoring/scoring", path="s3://dvc/incoming/later.csv")
        self.visitor.completed(run)
        worker = self.worker_of(run).partition("@")[2]
        tables = list((self.stack.services[worker].root / paths.SCORED).glob("*later.csv*.parquet"))
        require(tables, f"{worker} has no table of it")
        return f"{pd.read_parquet(tables[0]).shape[0]:,} records by {worker}"

    def triaged(self) -> str:
        """The page lets in whoever has the secret, and shows the scan."""
        port = self.stack.ports["proxy"]
        origin = {"Origin": f"https://triage.example:{port}", "Host": f"triage.example:{port}"}
        with httpx.Client(verify=False, trust_env=False, timeout=60) as page:  # noqa: S501 (doors() has compared it)
            sni = {"sni_hostname": "triage.example"}
            base, form = f"https://127.0.0.1:{port}", {"secret": self.visitor.secret("triage"), "name": "ada"}
            entered = page.post(f"{base}/login", data=form, headers=origin, extensions=sni)
            cookie = entered.headers.get("set-cookie", "").partition(";")[0]
            shown = page.get(base, headers={**origin, "Cookie": cookie}, extensions=sni)
        require(entered.status_code in {200, 303}, f"the login answers {entered.status_code}")
        require(shown.status_code == httpx.codes.OK and "/incident" in shown.text, f"the page: {shown.status_code}")
        return "logged in over TLS"

    # What people say, and what follows.

    def marked(self) -> str:
        """Somebody marks alerts in the clone of the watch; git brings the marks to the clones that train."""
        strongest = self.alerts("friday.csv").nlargest(MARKS, "score")
        ids = [f"{number:016x}" for number in strongest.record_id]
        said = self.visitor.command("watch", "python", "-m", "flows.label", *ids, "--confirmed", ATTACK, "--by", "ada")
        env = self.visitor.environment("watch")
        git(self.desk, env, "add", str(paths.LABELS))
        git(self.desk, env, "commit", "--quiet", "--message", "marks of ada")
        git(self.desk, env, "push", "--quiet", "origin", "HEAD")
        for name in ("worker-1", "worker-2"):
            git(self.stack.services[name].root, env, "pull", "--quiet", "--rebase", "--autostash")
        return said.splitlines()[-1]

    def retrained(self) -> str:
        """A training by hand learns the marks."""
        run = self.visitor.start("training/training", promote=True)
        self.visitor.completed(run)
        worker = self.worker_of(run).partition("@")[2]
        report = self.stack.services[worker].root / paths.REPORTS / "preprocess" / "splits.json"
        learnt = yaml.safe_load(report.read_bytes())["labels_of_analysts"]["confirmed"]
        require(sum(learnt.values()), f"it learnt {learnt}")
        number = self.visitor.number("champion")
        require(number == 2, f"the champion is {number}: {self.decision(worker)}")
        return f"version 2 by {worker}, which learnt {learnt}"

    def decision(self, worker: str) -> str:
        """The last decision of the gate in a clone."""
        lines = read_lines(self.stack.services[worker].root / paths.PROMOTIONS)
        return str(lines[-1].get("reasons") or lines[-1].get("decision")) if lines else "no decision"

    def rolled_back(self) -> str:
        """The version before serves again, and the watch takes it up."""
        before = self.visitor.number("champion")
        run = self.visitor.start("promotion/promotion", rollback=True)
        self.visitor.completed(run)
        number = self.visitor.number("champion")
        require(number == before - 1, f"the champion is {number}")
        self.visitor.command("watch", "python", "-m", "flows.verify")
        self.arrive("after-rollback.csv", SEED + 2)
        alerts = self.alerts("after-rollback.csv")
        versions = {int(each) for each in alerts.model_version}
        require(versions == {number}, f"the watch judged by {versions}")
        return f"version {number} serves, by {self.worker_of(run)}; the watch judges by it"

    def drift(self) -> str:
        """The worker beside the watch looks at what the watch has scored."""
        run = self.visitor.start("drift-check/drift-check", dry_run=True)
        return f"{self.visitor.completed(run).splitlines()[0][:80]}, by {self.worker_of(run)}"
