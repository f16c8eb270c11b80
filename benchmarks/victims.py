"""The programs that ``benchmarks.kills`` kills: what each works on, and what must reach its other sides."""

import contextlib
import json
import random
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
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
