"""What comes is judged once, by one model, whatever is killed or promoted meanwhile; and without MLflow and Prefect."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.champions import serve
from flows import deliver, watch
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.base.errors import ArtifactError, ConflictError, SourceError
from pipeline.serving import intake, scored
from pipeline.serving.alerts import delivery, incident_store, stored
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import ContractCheck
from pipeline.serving.version import Version
from pipeline.serving.watching import folder, stretch
from pipeline.serving.watching.handing_over import delivering
from pipeline.serving.watching.stretch import Model, Stretch
from pipeline.settings.alerts import Alerts
from pipeline.settings.scoring import Scoring
from tests.serving.alerts.sinks import receivers
from tests.stages.test_rescoring import moved


@pytest.fixture
def sealed(prepared, tmp_path, monkeypatch):
    """A champion on the disk, and no store: makes another version the champion."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # where nobody answers

    def promote(number, bundle):
        serve(bundle, number)
        return bundle

    for name, value in {"port": 0, "poll": 0.01, "settle": 0.0, "batch": 100, "refresh": 0.05}.items():
        prepared.set(f"watch.{name}", value)
    promote(3, Bundle.of_project())
    return promote


@pytest.fixture
def lines(week):
    """The header of a file of records, and its lines, again and again."""
    source = next(path for path in week.iterdir() if "DDos" in path.name)
    header, *found = source.read_bytes().splitlines(keepends=True)
    return header, found * (450 // len(found) + 1)


class Running:
    """A watch in a thread of this process."""

    def __init__(self, path):
        self.events, self.stopped = [], threading.Event()
        self.watcher = watch.begun(Namespace(path=str(path), alias="champion"), self._tell)
        self.watcher.model.follow(0.05, self.stopped)
        self.watcher.recover()
        self.thread = threading.Thread(target=self.watcher.run, args=(self.stopped,))

    def _tell(self, event, **fields):
        self.events.append({"event": event, **fields})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def until(self, name, value, **labels):
        """Wait until a gauge has a value."""
        begun = time.monotonic()
        while self.watcher.gauges.value(name, **labels) < value:
            assert self.thread.is_alive() and time.monotonic() - begun < 120, (name, self.events[-3:])
            time.sleep(0.01)


def serving():
    """Version 3, as the watch judges by it."""
    bundle = Bundle.load(next(paths.REGISTERED.glob("3-*")))
    return Model(3, bundle, config.load(Scoring).contract, config.load(Alerts))


def judged():
    """(source file, row) of each record that was judged, with the versions that judged it."""
    found = Counter()
    for path in paths.SCORED.glob("*.parquet"):
        table = pq.read_table(path, columns=["source_file", "row", "model_version"])
        found.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return found


def tables():
    return {path.relative_to(paths.SCORED): path.read_bytes() for path in paths.SCORED.rglob("*.parquet")}


def test_a_growing_log_becomes_tables_as_a_file_does(sealed, lines, tmp_path):
    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header)
    with Running(log) as running:
        for start in range(0, 450, 150):
            with log.open("ab") as file:
                file.write(b"".join(rows[start : start + 150]))
            running.until("records_total", start + 150)
        alerts = stored.read()
    found = judged()
    assert sum(found.values()) == 450 and {*found.values()} == {1}
    (summary,) = (read_json(path) for path in (paths.SCORED / "summaries").glob("*.json"))
    assert summary["records"] == 450 and summary["version"] == 3
    assert {*stored.read()["alert"].to_pylist()} == {*alerts["alert"].to_pylist()}
    assert len(list((paths.SCORED / "alerts").glob("*.parquet"))) == 1
    assert scored.recent(3, 10**6).score.size == 450
    assert [each.records.num_rows for each in scored.last_samples(3)] == [450]
    assert not any(path.is_dir() for path in (stretch.room()).glob("*/*"))


def test_a_stretch_that_was_cut_short_is_judged_to_the_same_bytes(sealed, lines):
    header, rows = lines
    model = serving()
    parts = {f"flows-{n:03d}.csv": header + b"".join(rows[n * 60 : n * 60 + 60]) for n in range(4)}

    def begun(number):
        here = Stretch.begin("log", "flows-000", model)
        for name, content in [*parts.items()][:number]:
            here.add(name, content)
        return here

    begun(4).end()
    whole, before = tables(), stored.read()
    for path in paths.SCORED.rglob("*.*"):
        path.unlink()
    for number in (1, 4):
        begun(number).drop()
        assert number == 4 or not list(paths.SCORED.glob("*.parquet"))
        alerts = []
        records = stretch.recover("log", lambda *_: model, alerts.append)
        assert records == number * 60
        if number == 4:
            assert tables() == whole
            assert stored.read().equals(before)
        for path in paths.SCORED.rglob("*.*"):
            path.unlink()


def test_a_stretch_that_is_whole_is_not_judged_again(sealed, lines, monkeypatch):
    header, rows = lines
    model = serving()
    here = Stretch.begin("log", "flows-000", model)
    here.add("flows-000.csv", header + b"".join(rows[:80]))
    with monkeypatch.context() as killed:
        killed.setattr(stretch, "forget", lambda _: None)  # killed here
        here.end()
    before = tables()

    def never(*_):
        raise AssertionError

    assert stretch.recover("log", never, never) == 0
    assert not here.folder.exists()
    assert {name for name in before if ".000001." not in name.name} == {*tables()}


def test_a_promotion_takes_over_between_two_batches(sealed, lines, tmp_path):
    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header + b"".join(rows[:200]))
    bundle = Bundle.load(next(paths.REGISTERED.glob("3-*")))
    names = {name: value - 1 for name, value in bundle.calibration.decisions[""].thresholds.items()}
    with Running(log) as running:
        running.until("records_total", 200)
        sealed(4, bundle.with_calibration(moved(bundle.calibration, names)))
        running.watcher.model.is_away = False
        running.watcher.model.current = running.watcher.model._of(
            Version(4, "run", "", {}, ()), Bundle.load(next(paths.REGISTERED.glob("4-*")))
        )
        running.until("swaps_total", 1)
        with log.open("ab") as file:
            file.write(b"".join(rows[200:400]))
        running.until("records_total", 400)
    found = judged()
    assert {*found.values()} == {1}
    assert Counter(version for _, _, version in found.elements()) == {3: 200, 4: 200}


def test_a_part_that_cannot_be_read_is_put_aside_and_the_rest_goes_on(sealed, lines, tmp_path):
    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header + b"".join(rows[:100]) + b"\x00\xff\n" * 100 + b"".join(rows[100:200]))
    with Running(log) as running:
        running.until("records_total", 200)
    assert sum(judged().values()) == 200
    assert running.watcher.gauges.value("rejected_rows_total") == 100 or list(paths.QUARANTINE.glob("*.csv"))


def test_a_folder_gives_whole_files_and_the_logs_in_it(sealed, week, tmp_path):
    room = tmp_path / "incoming"
    room.mkdir()
    files = sorted(week.iterdir())[:2]
    with Running(room) as running:
        with (room / "growing.csv").open("wb") as growing:  # open to write: it is left alone
            growing.write(files[0].read_bytes())
            growing.flush()
            (room / files[1].name).write_bytes(files[1].read_bytes())
            running.until("files_total", 1)
            time.sleep(0.2)
            assert running.watcher.gauges.value("files_total") == 1
        running.until("files_total", 2)
    assert {*judged().values()} == {1}


def test_what_was_judged_by_any_version_is_passed_over(sealed, week, tmp_path):
    room = tmp_path / "incoming"
    room.mkdir()
    (room / "a.csv").write_bytes(sorted(week.iterdir())[0].read_bytes())
    with Running(room) as running:
        running.until("files_total", 1)
    before = tables()
    with Running(room) as running:
        time.sleep(0.3)
    assert tables() == before and running.watcher.gauges.value("files_total") == 0


def test_one_watch_at_a_time(sealed):
    with watch.alone(), pytest.raises(ConflictError, match="another watch is at work"), watch.alone():
        pass


def test_what_is_no_folder_is_refused(sealed, tmp_path):
    with pytest.raises(SourceError, match="name a folder, a log that grows, or -"):
        watch.begun(Namespace(path=str(tmp_path / "nowhere"), alias="champion"), watch.log)


def test_it_answers_to_prometheus(sealed, lines, tmp_path):
    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header + b"".join(rows[:200]))
    with Running(log) as running, watch._metrics(running.watcher) as port:
        running.until("records_total", 200)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.read() == b"ok\n"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/else")
        refused.value.close()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["flowsculpt_watch_records_total"]) == 200
    assert float(values["flowsculpt_watch_model_version"]) == 3
    promised = running.watcher.model.current.bundle.calibration.promises()["p99"]
    assert float(values['flowsculpt_watch_alarms_promised_total{level="p99"}']) == pytest.approx(200 * promised)
    kinds = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name.partition("{")[0] for name in values} == kinds


def killed(path, steps=1):
    """A watch of this process that recovers and looks some times, and then is gone without a word."""
    watcher = watch.begun(Namespace(path=str(path), alias="champion"), lambda *_, **__: None)
    watcher.recover()
    for _ in range(steps):
        watcher.step()
    for each in watcher._stretches.values():
        each.drop()
    for each in watcher.streams:
        each.close()
    return int(watcher.gauges.value("records_total"))


def test_what_was_recovered_is_not_read_again_by_a_watch_after_the_next_kill(sealed, lines, tmp_path):
    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header + b"".join(rows[:90]))
    assert killed(log) == 90
    assert killed(log) == 0  # it recovers them, and is killed before anything new comes
    with Running(log):
        pass
    assert sum(judged().values()) == 90


def test_a_watch_of_another_log_recovers_what_is_not_read_again(sealed, lines, tmp_path):
    header, rows = lines
    log, other = tmp_path / "flows.csv", tmp_path / "other.csv"
    log.write_bytes(header + b"".join(rows[:90]))
    other.write_bytes(header)
    assert killed(log) == 90
    with Running(other):
        pass
    with Running(log):
        pass
    assert sum(judged().values()) == 90


class Busy:
    """A log that gets as many lines as are judged, as long as there are some."""

    def __init__(self, path, header, rows):
        self.path, self.rows = path, rows
        path.write_bytes(header + b"".join(rows[:50]))
        self.done = 50

    def __call__(self, event, **_):
        if event == "judged":
            with self.path.open("ab") as file:
                file.write(b"".join(self.rows[self.done : self.done + 50]))
            self.done = min(self.done + 50, len(self.rows))


def test_a_log_that_never_rests_is_no_lag(sealed, lines, tmp_path):
    busy = Busy(tmp_path / "flows.csv", lines[0], lines[1])
    watcher = watch.begun(Namespace(path=str(busy.path), alias="champion"), busy)
    before = time.monotonic()
    for _ in range(4):
        assert watcher.step()
    assert watcher.lag < time.monotonic() - before
    watcher.drain()


def test_a_log_that_never_rests_does_not_keep_the_watch_from_ending(sealed, lines, tmp_path):
    header, rows = lines
    busy = Busy(tmp_path / "flows.csv", header, rows[:450])
    watcher = watch.begun(Namespace(path=str(busy.path), alias="champion"), busy)
    watcher.step()
    watcher.drain()
    assert busy.done < 450
    with Running(busy.path) as running:
        running.until("records_total", busy.done - watcher.gauges.value("records_total"))
    assert sum(judged().values()) == busy.done and {*judged().values()} == {1}


def test_a_file_that_could_not_be_scored_for_a_full_disk_is_tried_again(sealed, week, tmp_path, monkeypatch):
    room = tmp_path / "incoming"
    room.mkdir()
    (room / "a.csv").write_bytes(sorted(week.iterdir())[0].read_bytes())
    watcher = watch.begun(Namespace(path=str(room), alias="champion"), lambda *_, **__: None)
    monkeypatch.setattr(folder, "RETRY", 0.0)
    with monkeypatch.context() as full:
        full.setattr(intake.batch, "score", raising(ArtifactError("no space left on the device")))
        watcher.step()
    watcher.step()
    assert watcher.gauges.value("files_total") == 1


def test_a_file_that_cannot_be_scored_now_lets_others_go_first(sealed, week, tmp_path, monkeypatch):
    room = tmp_path / "incoming"
    room.mkdir()
    (room / "a.csv").write_bytes(sorted(week.iterdir())[0].read_bytes())
    told = []
    watcher = watch.begun(Namespace(path=str(room), alias="champion"), lambda event, **_: told.append(event))
    monkeypatch.setattr(intake.batch, "score", raising(ArtifactError("no space left on the device")))
    assert watcher.step()
    assert not watcher.step()
    assert told == ["refused"]


def test_a_stretch_that_breaks_the_contract_is_said(sealed, lines, tmp_path, monkeypatch):
    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header + b"".join(rows[:60]))
    monkeypatch.setattr(ContractCheck, "broken", lambda _: ["A column is odd."])
    with Running(log) as running:
        running.until("records_total", 60)
    (said,) = (each["message"] for each in running.events if each["event"] == "warning")
    assert "A column is odd." in said


def raising(error):
    def score(*_, **__):
        raise error

    return score


# As a program, which is killed.


def started(path, **given):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "flows.watch", str(path)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, **given)


def test_standard_input_is_judged_to_its_end(sealed, lines):
    header, rows = lines
    process = started("-", stdin=subprocess.PIPE)
    process.stdin.write((header + b"".join(rows[:300])).decode())
    _, told = process.communicate(timeout=300)
    events = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert process.returncode == 0 and events[-1] == events[-1] | {"event": "stopped", "records": 300}
    assert sum(judged().values()) == 300
    assert "the registry is away" in told


def test_nothing_of_a_server_is_imported(sealed, lines):
    code = (
        "import sys; from flows import watch; watch.main(['-']); print({'mlflow', 'prefect', 'dvc'} & {*sys.modules})"
    )
    header, rows = lines
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], input=header + b"".join(rows[:50]), capture_output=True, env=environment
    )
    assert done.stdout.decode().strip() == "set()", done.stderr.decode()


@pytest.mark.parametrize("seed", range(2))
def test_each_record_is_judged_once_over_kills(sealed, lines, tmp_path, seed):
    header, rows = lines
    log, rng, n = tmp_path / "flows.csv", np.random.default_rng(seed), 400
    log.write_bytes(header)
    for cut in range(4):
        process = started(log)
        for line in process.stderr:
            if '"started"' in line:
                break
        with log.open("ab") as file:
            file.write(b"".join(rows[cut * 100 : cut * 100 + 100]))
        time.sleep(float(rng.uniform(0, 0.5)))
        process.send_signal(signal.SIGKILL if cut < 3 else signal.SIGTERM)
        process.stderr.read()
        assert process.wait(60) in (0, -signal.SIGKILL)
        process.stderr.close()
    found = judged()
    assert sum(found.values()) == n and {*found.values()} == {1}


# Sinks.


def test_alerts_reach_a_sink_while_the_watch_goes_on(sealed, lines, tmp_path, prepared):
    prepared.set("alerts.sinks.active", ["eve"])
    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header + b"".join(rows[:200]))
    with delivering(config.load(Alerts).sinks) as take, Running(log) as running:
        running.watcher.hand_over = take
        running.until("records_total", 200)
        keys = {*stored.read()["alert"].to_pylist()}
        assert keys
        begun = time.monotonic()
        while sum(each.state.waiting for each in delivery.states(config.load(Alerts).sinks)):
            assert time.monotonic() - begun < 60
            time.sleep(0.1)
    assert not any(each.state.waiting for each in delivery.states(config.load(Alerts).sinks))


def test_a_sink_that_fails_keeps_no_record_waiting(sealed, lines, tmp_path):
    def fail(_):
        raise ArtifactError("the spool is full")

    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header + b"".join(rows[:200]))
    with Running(log) as running:
        running.watcher.hand_over = fail
        running.until("records_total", 200)
    assert sum(judged().values()) == 200
    assert any(each["event"] == "not delivered" for each in running.events)


def eve(about):
    """The keys of the alerts or incidents in the log that the sink wrote, in their order."""
    path = Path("data/sinks/eve.json")
    found = (
        [json.loads(line)["alert"]["metadata"]["tag"] for line in path.read_text().splitlines()]
        if path.exists()
        else []
    )
    return [tags[0].removeprefix("key=") for tags in found if f"about={about}" in tags]


def until(seen, process=None):
    begun = time.monotonic()
    while not seen():
        assert time.monotonic() - begun < 120 and (process is None or process.poll() is None)
        time.sleep(0.05)


@pytest.fixture
def sinks(sealed, prepared, monkeypatch):
    """A log gets each alert and each incident, a webhook the incidents; gives the webhook."""
    monkeypatch.setenv("FLOWSCULPT_TEST_SECRET", "secret")
    prepared.set("watch.incidents", 0.1)
    prepared.set("alerts.incidents.medium", 999_999.0)  # so few benign records give no strong evidence
    with receivers.webhook() as (port, hook):
        prepared.set("alerts.sinks.active", ["eve"])
        prepared.set("alerts.sinks.incidents", ["eve", "webhook"])
        prepared.set("alerts.sinks.webhook.url", f"http://127.0.0.1:{port}/")
        prepared.set("alerts.sinks.webhook.secret_variable", "FLOWSCULPT_TEST_SECRET")
        yield hook


def grouped():
    """The keys of the incidents that sinks are to get."""
    found = incident_store.read(config.load(Alerts).incidents)
    return [f"{each.incident}-{each.severity}" for each in found if each.severity != "low"]


def test_sinks_get_alerts_at_once_and_incidents_when_a_stretch_is_whole(sinks, prepared, lines, tmp_path):
    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header)
    process = started(log)
    with log.open("ab") as file:
        file.write(b"".join(rows[:200]))
    until(lambda: eve("alert"), process)
    assert not eve("incident")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert {*eve("alert")} == {*stored.read()["alert"].to_pylist()}
    assert grouped() and eve("incident") == grouped() == sinks.taken()
    assert deliver.main([]) == 0
    assert eve("incident") == sinks.taken() == grouped()


def test_incidents_come_while_the_watch_goes_on_and_once_over_kills(sinks, prepared, lines, tmp_path):
    prepared.set("watch.stretch", 0.5)
    header, rows = lines
    log = tmp_path / "flows.csv"
    log.write_bytes(header + b"".join(rows[:200]))
    process = started(log)
    until(lambda: eve("incident"), process)
    process.kill()
    process.communicate()
    prepared.set("watch.stretch", 300.0)
    before = len(eve("alert"))
    with log.open("ab") as file:
        file.write(b"".join(rows[200:400]))
    process = started(log)
    until(lambda: len(eve("alert")) > before, process)
    process.kill()  # the stretch is not whole
    process.communicate()
    process = started(log)
    assert any('"started"' in line for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert sum(judged().values()) == 400 and {*judged().values()} == {1}
    assert sorted({*eve("incident")}) == sorted(eve("incident"))
    assert {*grouped()} <= {*eve("incident")} == {*sinks.taken()}


def test_a_watch_whose_sinks_get_no_incident_groups_nothing(sealed, lines, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(watch, "_grouping", never)
    log, stopped = tmp_path / "flows.csv", threading.Event()
    log.write_bytes(lines[0])
    stopped.set()
    assert watch.watch(Namespace(path=str(log), alias="champion"), stopped) == 0
