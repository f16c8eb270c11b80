"""SIGKILL at random moments: what is lost, and what comes twice.

::

    python -m benchmarks.kills [--victim deliverer] [--kills 50] [--seed 0] [--keep FOLDER]

Each victim is a program that works in a folder of its own. It runs once to its end, which is timed. Then it is started,
killed at a moment of that time that is drawn from the seed, and started again, as often as asked. Before each start
there is new work. At last it runs to its end again, and what reached the other sides is counted. A table has a row for
each: the kills, what should have arrived, what is lost, and what came twice. The program ends with 1 where something is
lost, or came twice to a side that must get everything once.

``deliverer`` hands alerts over to the spools of all sinks and delivers them. Its other sides are two logs, one of which
is renamed now and then as logrotate does it, a table, and receivers of syslog (TCP) and webhooks in this process. These
two can only get an alert at least once; they know it by its key.

``scorer`` scores each new file of a folder with a small model, and hands its alerts to a log. Its other sides are the
tables of scored records and that log: each record must be judged once, and each alert must stand there once.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).parents[1]
READY: Final = "ready"
PART: Final = 300  # alerts of a table
SECRET: Final = "FLOWSCULPT_KILLS_SECRET"


@dataclass(frozen=True)
class Side:
    """What arrived at one other side of a victim.

    Attributes:
        name: of the side.
        expected: the keys that should have arrived.
        arrived: how often each key did.
        is_once: whether a key may arrive only once.
    """

    name: str
    expected: frozenset[str]
    arrived: Counter[str]
    is_once: bool

    @property
    def lost(self) -> int:
        """Keys that did not arrive."""
        return len(self.expected - self.arrived.keys())

    @property
    def doubled(self) -> int:
        """Arrivals beyond the first of each key."""
        return self.arrived.total() - len(self.arrived)

    @property
    def is_kept(self) -> bool:
        """Whether the promise to this side holds."""
        return not self.lost and not (self.is_once and self.doubled) and self.arrived.keys() <= self.expected


class Victim(ABC):
    """A program that is killed, and what it works on.

    Args:
        folder: of its own.
        random: draws whatever is drawn.
    """

    def __init__(self, folder: Path, random: random.Random) -> None:
        self.folder, self.random = folder, random

    @abstractmethod
    def command(self) -> list[str]:
        """How the program is started; it prints ``READY`` when its work begins."""

    @abstractmethod
    def prepare(self, round_: int) -> None:
        """Make new work before a start."""

    @abstractmethod
    def sides(self) -> list[Side]:
        """What arrived, when the program has ended by itself."""

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        """What the program needs around it, such as receivers."""
        yield


class Deliverer(Victim):
    """Hands alerts over to five sinks and delivers them."""

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        """Receivers of syslog and webhooks, and a project that names them."""
        from tests.serving.alerts.sinks import receivers

        with ExitStack() as stack:
            syslog, self.streams = stack.enter_context(receivers.stream())
            webhook, self.hook = stack.enter_context(receivers.webhook())
            self._project(syslog, webhook)
            yield

    def _project(self, syslog: int, webhook: int) -> None:
        import yaml

        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["alerts"]["sinks"] |= {
            "active": ["eve", "ecs", "parquet", "syslog", "webhook"],
            "syslog": {"transport": "tcp", "address": f"127.0.0.1:{syslog}"},
            "webhook": {"url": f"http://127.0.0.1:{webhook}/", "secret_variable": SECRET},
        }
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))
        (self.folder / "data" / "scored" / "alerts").mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """This module, as ``deliver`` below."""
        return [sys.executable, "-m", "benchmarks.kills", "--child", "deliverer"]

    def prepare(self, round_: int) -> None:
        """A table with new alerts; now and then the log is renamed."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from pipeline.serving.alerts.schema import SCHEMA
        from pipeline.serving.alerts.sinks.parquet import row
        from tests.serving.alerts.sinks import made

        rows = [row(each.content) for each in made.of(*range(round_ * PART, (round_ + 1) * PART))]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        pq.write_table(table, self.folder / "data" / "scored" / "alerts" / f"{round_:04d}.parquet")
        log = self.folder / "data" / "sinks" / "eve.json"
        if log.exists() and self.random.random() < 0.2:
            log.rename(log.with_name(f"eve.json.{round_}"))

    def sides(self) -> list[Side]:
        """What the sinks hold."""
        import pyarrow.dataset

        from pipeline.serving.alerts.sinks.ecs import Ecs
        from pipeline.serving.alerts.sinks.eve import Eve
        from tests.serving.alerts.sinks import rfc5424

        tables = self.folder / "data" / "scored" / "alerts"
        alerts = pyarrow.dataset.dataset([*map(str, tables.glob("*.parquet"))])
        expected = frozenset(alerts.to_table(["alert"]).column(0).to_pylist())
        sinks = self.folder / "data" / "sinks"
        table = pyarrow.dataset.dataset(sinks / "parquet").to_table(["alert"]).column(0).to_pylist()
        parts = [part for part in self.streams if isinstance(part, bytes)]
        messages = [rfc5424.parse(each) for part in parts for each in _whole(part)]
        syslog = [each.data["flowsculpt@32473"]["key"] for each in messages]
        found: list[tuple[str, list[Any], bool]] = [
            ("EVE log, renamed at times", _logged(sinks.glob("eve.json*"), Eve(file="-").key_of), True),
            ("ECS log", _logged(sinks.glob("ecs.json*"), Ecs(file="-").key_of), True),
            ("Parquet table", table, True),
            ("syslog, TCP", syslog, False),
            ("webhook", self.hook.taken(), False),
        ]
        return [Side(name, expected, Counter(keys), is_once) for name, keys, is_once in found]


def _logged(paths: Iterator[Path], key_of: Callable[[dict[str, Any]], str | None]) -> list[str | None]:
    return [key_of(json.loads(line)) for path in paths for line in path.read_text().splitlines()]


def _whole(stream: bytes) -> list[bytes]:
    """The messages of a stream; a sender that was killed leaves half a message at its end."""
    found = []
    while stream:
        length, space, rest = stream.partition(b" ")
        if not space or len(rest) < int(length):
            break
        found.append(rest[: int(length)])
        stream = rest[int(length) :]
    return found


def deliver() -> None:
    """What the deliverer does: tables into the spools, each noted down as scoring does it, then on to the sinks."""
    from pipeline import config
    from pipeline.serving.alerts import delivery, stored
    from pipeline.settings.alerts import Alerts

    rules = config.load(Alerts).sinks
    print(READY, flush=True)
    for path in stored.tables():
        noted = path.with_suffix(".done")
        if not noted.exists():
            delivery.hand_over_table(path, rules)
            noted.touch()
    done = delivery.flush(rules, 600.0, is_patient=False)
    if not all(each.is_clear for each in done):
        raise SystemExit("\n".join(each.sentence for each in done))


class Scorer(Victim):
    """Scores the files of a folder, with a model that was trained on a small simulated week."""

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        """A project with a model, and a log as the sink of its alerts."""
        from pipeline.artifacts import paths
        from pipeline.datasets.synthetic.files import write
        from tests.stages.conftest import Project

        with contextlib.chdir(self.folder), contextlib.redirect_stdout(None):
            project = Project()
            project.set("alerts.sinks.active", ["eve"])
            write(project.raw, records=600, seed=0)
            project.run("ingest", "preprocess", "stage1", "stage2", "calibrate")
            paths.INCOMING.mkdir(parents=True)
        yield

    def command(self) -> list[str]:
        """This module, as ``score`` below."""
        return [sys.executable, "-m", "benchmarks.kills", "--child", "scorer"]

    def prepare(self, round_: int) -> None:
        """A new file."""
        from pipeline.datasets.synthetic.files import write

        with tempfile.TemporaryDirectory() as week:
            write(Path(week), records=2_000, seed=1 + round_)
            day = next(path for path in Path(week).iterdir() if "Wednesday" in path.name)
            (self.folder / "data" / "incoming" / f"{round_:04d}.csv").write_bytes(day.read_bytes())

    def sides(self) -> list[Side]:
        """Which records count as scored, and what the log holds."""
        from pipeline.artifacts import paths
        from pipeline.artifacts.tables import read_table
        from pipeline.serving import arrivals, reading, scored
        from pipeline.serving.alerts import stored
        from pipeline.serving.alerts.sinks.eve import Eve
        from pipeline.serving.bundle import Bundle

        with contextlib.chdir(self.folder):
            bundle, rows, judged = Bundle.of_project(), set[str](), Counter[str]()
            for file in arrivals.find(paths.INCOMING):
                for chunk in reading.chunks(file, bundle):
                    rows |= {f"{file.name} {row}" for row in chunk.records.column("row").to_pylist()}
                if scored.is_scored(file, 1):
                    table = read_table(scored.table_path(file.key(1)), ["row"])
                    judged.update(f"{file.name} {row}" for row in table.column(0).to_pylist())
            alerts = frozenset(stored.read().column("alert").to_pylist())
            keys = Counter(_logged((self.folder / "data" / "sinks").glob("eve.json*"), Eve(file="-").key_of))
        return [Side("records", frozenset(rows), judged, True), Side("EVE log", alerts, keys, True)]


def score() -> None:
    """What the scorer does: each file that is new, as a scoring run does it without a server."""
    from pipeline import config
    from pipeline.artifacts import paths
    from pipeline.serving import arrivals, intake
    from pipeline.serving.bundle import Bundle
    from pipeline.settings.alerts import Alerts

    bundle, alerts = Bundle.of_project(), config.load(Alerts)
    print(READY, flush=True)
    for path in arrivals.listed(paths.INCOMING):
        done = intake.take_in(path, paths.INCOMING, 1, lambda file: intake.score(file, bundle, 1, alerts=alerts))
        if isinstance(done, Exception):
            raise SystemExit(str(done))


VICTIMS: Final[dict[str, type[Victim]]] = {"deliverer": Deliverer, "scorer": Scorer}
CHILDREN: Final[dict[str, Callable[[], None]]] = {"deliverer": deliver, "scorer": score}


def run(victim: Victim, kills: int) -> list[Side]:
    """Kill a victim so often, let it end, and count."""
    with victim.surrounded():
        victim.prepare(0)
        longest, hit = _ended(victim), 0
        for round_ in range(1, kills + 1):
            victim.prepare(round_)
            hit += _killed(victim, longest)
        before = ", ".join(f"{side.name} {len(side.arrived):,}" for side in victim.sides())
        victim.prepare(kills + 1)
        _ended(victim)
        name = type(victim).__name__
        print(
            f"{name}: {hit} of {kills} kills in {longest:.1f} s of work; before the last start: {before}",
            file=sys.stderr,
        )
        return victim.sides()


def _ended(victim: Victim) -> float:
    """Start it and let it end; returns the seconds that its work took."""
    with started(victim) as process:
        began = time.monotonic()
        if process.wait():
            raise SystemExit(f"{type(victim).__name__} failed when nobody killed it")
        return time.monotonic() - began


def _killed(victim: Victim, longest: float) -> bool:
    """Start it, and kill it in so many seconds; returns whether it was still at work."""
    with started(victim) as process:
        time.sleep(victim.random.uniform(0.0, longest))
        was_working = process.poll() is None
        process.kill()
    return was_working


@contextmanager
def started(victim: Victim) -> Iterator[subprocess.Popen[str]]:
    """The program at work."""
    around = {**os.environ, "PYTHONPATH": str(ROOT), SECRET: "secret"}
    with subprocess.Popen(
        victim.command(), cwd=victim.folder, env=around, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == READY:
                break
        yield process


def table(victim: str, kills: int, sides: Sequence[Side]) -> str:
    """The rows of the table, in Markdown."""
    head = ["| victim | kills | other side | keys | lost | came twice | promise |", "|---|---:|---|---:|---:|---:|---|"]
    rows = [
        f"| {victim} | {kills} | {side.name} | {len(side.expected):,} | {side.lost:,} | {side.doubled:,} "
        f"| {'once' if side.is_once else 'at least once'}: {'kept' if side.is_kept else 'broken'} |"
        for side in sides
    ]
    return "\n".join([*head, *rows])


def main() -> int:
    """Kill, count, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--victim", choices=VICTIMS, action="append", help="default: all")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for what the victims leave; default: one that is removed")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        CHILDREN[chosen.child]()
        return 0
    kept = True
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen.victim or VICTIMS:
            folder = (chosen.keep or Path(temporary)).resolve() / name
            folder.mkdir(parents=True, exist_ok=True)
            sides = run(VICTIMS[name](folder, random.Random(chosen.seed)), chosen.kills)
            print(table(name, chosen.kills, sides))
            kept = kept and all(side.is_kept for side in sides)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
