"""Scoring a file, alerts on their way to the sinks, and what analysts say of them."""

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.injected.operations import Operation, digest, of_path

ALERTS, EARLIER, LOGS = 40, 15, ("eve", "ecs")
NEW: Final = Path("data/incoming/new.csv")
ATTACKS: Final = ("bot", "benign", "unsure")


def scored_world() -> None:
    """A project with a champion that serves, a sink, and a file that came in."""
    from benchmarks import champions
    from pipeline.datasets.synthetic.files import write
    from pipeline.serving.bundle import Bundle
    from tests.stages.conftest import Project

    project = Project()
    project.set("alerts.sinks.active", ["eve"])
    write(project.raw, records=600, seed=0)
    project.run("ingest", "preprocess", "stage1", "stage2", "calibrate")
    champions.serve(Bundle.of_project())
    write(Path("week"), records=2_000, seed=1)
    NEW.parent.mkdir(parents=True)
    day = next(path for path in sorted(Path("week").iterdir()) if "Wednesday" in path.name)
    day.replace(NEW)
    for path in Path("week").iterdir():
        path.unlink()


def score() -> None:
    """``flowsculpt score FILE``."""
    from flows.score import here

    here([NEW])


def score_again() -> None:
    """The same, and ``flowsculpt deliver`` for a sink that failed."""
    score()
    deliver()


def look_scored() -> dict[str, str]:
    """Whether the file counts as scored, with which tables, and where its alerts are."""
    from pipeline.serving import arrivals, scored
    from pipeline.serving.alerts import stored

    (file,) = arrivals.find(NEW.parent)
    tables = {room: of_path(scored.table_path(file.key(1), room)) for room in scored.TABLES}
    is_scored = scored.is_scored(file, 1)
    alerts = stored.read().column("alert").to_pylist() if is_scored else []
    log, waiting = logged("eve"), waits("eve")
    return {
        "scored": digest(tables) if is_scored else "absent",
        "alerts in log or spool": digest(sorted({*log, *waiting})),
        "alerts of the file, elsewhere": digest(sorted({*alerts} - {*log, *waiting})),
        "twice in the log": str([key for key, count in log.items() if count > 1]),
        "log": digest(sorted(log)),
        "incoming": of_path(NEW),
    }


def spool_world() -> None:
    """A project with three sinks, some alerts of which were delivered earlier."""
    from pipeline.serving.alerts import delivery
    from tests.serving.alerts.sinks import made
    from tests.stages.conftest import Project

    Project().set("alerts.sinks.active", [*LOGS, "parquet"])
    delivery.deliver([made.alert(number) for number in range(EARLIER)], rules())


def full_world() -> None:
    """The same, with alerts that wait."""
    spool_world()
    hand_over()


def rules() -> Any:
    """The settings of the sinks."""
    from pipeline import config
    from pipeline.settings.alerts import Alerts

    return config.load(Alerts).sinks


def hand_over() -> None:
    """What scoring does with alerts."""
    from pipeline.serving.alerts import delivery
    from tests.serving.alerts.sinks import made

    delivery.hand_over([made.alert(number) for number in range(EARLIER, ALERTS)], rules())


def deliver() -> None:
    """``flowsculpt deliver``."""
    from flows.deliver import delivered

    options = {"refused": False, "give_up": False, "stored": False, "status": False, "incidents": False}
    delivered(Namespace(**options, seconds=60.0))


def look_delivered() -> dict[str, str]:
    """Of each sink: what it has, what waits for it, and what came twice."""
    found = {}
    for sink in (*LOGS, "parquet"):
        keys, waiting = logged(sink), waits(sink)
        found[f"{sink}: known"] = digest(sorted({*keys, *waiting}))
        found[f"{sink}: has"] = digest(sorted(keys))
        found[f"{sink}: twice"] = str([key for key, count in keys.items() if count > 1])
    return found


def logged(sink: str) -> Counter[str | None]:
    """How often each alert stands at a sink."""
    import pyarrow.dataset

    from pipeline.serving.alerts.delivery import built

    folder = Path("data/sinks")
    if sink == "parquet":
        if not (folder / sink).is_dir():
            return Counter()
        return Counter(pyarrow.dataset.dataset(folder / sink).to_table(["alert"]).column(0).to_pylist())
    log: Any = built(rules())[sink]
    path = folder / f"{sink}.json"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return Counter(log.key_of(json.loads(line)) for line in lines if line.endswith(b"\n"))


def waits(sink: str) -> list[str]:
    """The alerts that wait for a sink."""
    from pipeline.serving import own_model
    from pipeline.serving.alerts.spool import Spool

    if not (own_model.scored() / "spool").is_dir():
        return []
    return [each.message.key for each in Spool(own_model.scored() / "spool", sink, 10**6).next(10**6)]


# What analysts say.


def labels_world(torn: bytes = b"") -> None:
    """Records, and two labels; a process that was killed may have left half a line."""
    from pipeline.artifacts import paths
    from pipeline.artifacts.tables import read_table
    from pipeline.datasets.synthetic.files import write
    from tests.stages.conftest import Project

    project = Project()
    write(project.raw, records=600, seed=0)
    project.run("ingest")
    ids = sorted(read_table(paths.RECORDS, ["record_id"]).column(0).to_pylist())
    for by, attacks in (("first", ATTACKS[:2]), ("ada", ATTACKS)):
        rows = [f"{number:016x},{attack}\n" for number, attack in zip(ids, attacks, strict=False)]
        Path(f"{by}.csv").write_text("record_id,label\n" + "".join(rows))
    label("first")
    with paths.LABELS.open("ab") as log:
        log.write(torn)


def torn_world() -> None:
    """The same, with half a line."""
    labels_world(b'{"record_id": "00')


def label(by: str = "ada") -> None:
    """``flowsculpt label --from FILE``."""
    from flows.label import labelled

    labelled(Namespace(undo=False, from_file=Path(f"{by}.csv"), by=by, note="", new=False))


def label_again() -> None:
    """The same for whoever looks first what is there already."""
    if not any(each.by == "ada" for each in _labels()):
        label()


def look_labels() -> dict[str, str]:
    """The labels of each person."""
    found = {by: [(each.record_id, each.attack) for each in _labels() if each.by == by] for by in ("first", "ada")}
    return {by: digest(said) for by, said in found.items()}


def _labels() -> list[Any]:
    from pipeline.artifacts import labels

    return labels.read()


_ACKNOWLEDGED: Final = ("scored", "alerts in log or spool", "alerts of the file, elsewhere", "twice in the log")
_MANY: Final[tuple[tuple[str, Callable[[], None]], ...]] = (("labels", labels_world), ("labels-torn", torn_world))
OPERATIONS: Final = (
    Operation("score", scored_world, score, look_scored, score_again, promised=frozenset((*_ACKNOWLEDGED, "incoming"))),
    Operation("alerts-spool", spool_world, hand_over, look_delivered),
    Operation("alerts-deliver", full_world, deliver, look_delivered),
    *(Operation(name, world, label, look_labels, label_again) for name, world in _MANY),
)
