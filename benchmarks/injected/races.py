"""Two at once: an operation is stopped at a system call, something else happens, and it goes on."""

import os
import random
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.injected import children
from benchmarks.injected.bench import Bench, Found, Trial, spread
from benchmarks.injected.calls import Call
from benchmarks.injected.children import TRACEBACK, Child, Ended
from benchmarks.injected.writes import counted

LOOKS: Final = 0.005  # seconds between looks whether the operation has stopped
GRACE: Final = 1.5  # seconds that the other one gets, which may wait for a lock of the one that has stopped
WRITERS: Final = 8
AWAY: Final = "away"


def vanishing(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """A folder is gone from a call on, and back once the operation has ended, as one of another machine is."""
    drawn = random.Random(f"{bench.operation.name}-vanishing-{seed}")
    found = [call for call in counted(bench) if len(Path(call.path).parts) > 1]
    for place, call in enumerate(spread(found, most, drawn)):
        parts = Path(call.path).parts
        folder = bench.work / Path(*parts[: 1 + place % min(2, len(parts) - 1)])
        away = bench.root / AWAY
        bench.fresh()
        ended = stopped(bench, call, lambda folder=folder, away=away: _moved(folder, away))
        if away.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what was made in its place is under it again
            folder.parent.mkdir(parents=True, exist_ok=True)
            away.rename(folder)
            where = f"{folder.relative_to(bench.work)} from {call.name} {call.number} on"
            yield Trial("vanishing folder", where, bench.judged(ended, is_acknowledged=False))


def _moved(folder: Path, away: Path) -> None:
    if folder.is_dir():
        folder.rename(away)


def meeting(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """Another process does something while the operation is stopped at a call; then both end."""
    drawn = random.Random(f"{bench.operation.name}-meeting-{seed}")
    for call in spread(counted(bench), most, drawn):
        others: list[Child] = []

        def begin(others: list[Child] = others) -> None:
            assert bench.operation.meanwhile is not None
            others.append(Child(bench.operation.meanwhile, bench.work))
            others[0].go()
            _wait_for(others[0], GRACE)

        bench.fresh()
        ended = stopped(bench, call, begin)
        others_ended = [other.wait() for other in others]
        found = bench.judged(ended, is_acknowledged=False)
        for late in others_ended:
            if late.end == TRACEBACK:
                found.faults.append(f"the other one: no clear refusal: {late.said.strip().splitlines()[-1]}")
        yield Trial("two at once", f"the other one at {call.name} {call.number} ({call.path})", found)


def stopped(bench: Bench, call: Call, meanwhile: Callable[[], None]) -> Ended:
    """Stop the operation at a call, do something, and let it go on to its end."""
    child = Child(bench.operation.act, bench.work)
    inject = f"{call.name}:signal=STOP:when={call.number}"
    with children.attached(child.pid, call.name, inject, bench.log) as tracer:
        child.go()
        while "stopped by SIGSTOP" not in bench.log.read_text(errors="replace") and not child.has_ended():
            time.sleep(LOOKS)
        try:
            if not child.has_ended():
                meanwhile()
        finally:
            os.kill(child.pid, signal.SIGCONT)
        ended = child.wait()
        tracer.wait()
    return ended


def _wait_for(child: Child, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not child.has_ended() and time.monotonic() < deadline:
        time.sleep(LOOKS)


def writers(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """Eight processes write to one database at once; in each second round one more holds it for a while."""
    bench.warm(_one(bench, 0))
    for round_ in range(most):
        bench.fresh()
        with ExitStack() as held:
            if round_ % 2:
                holder = Child(_hold(bench.work / bench.operation.database, 0.2 * round_), bench.work)
                holder.go()
                held.callback(holder.wait)
            many = [Child(_one(bench, number), bench.work) for number in range(WRITERS)]
            for child in many:
                child.go()
            ended = [child.wait() for child in many]
        found = Found(ended[0])
        found.faults += [each.said for each in ended if each.end != children.DONE]
        seen = children.run(bench.operation.look, bench.work)
        found.faults += [f"{unit}: {value}" for unit, value in (seen.value or {}).items() if value != "whole"]
        found.faults += [] if seen.end == children.DONE else [seen.said]
        yield Trial("locked database", f"{WRITERS} writers, round {round_ + 1}", found)


def _one(bench: Bench, number: int) -> Callable[[], Any]:
    def act() -> None:
        bench.operation.act(number)  # type: ignore[call-arg]

    return act


def _hold(database: Path, seconds: float) -> Callable[[], None]:
    def hold() -> None:
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            select.select([], [], [], seconds)
            connection.execute("ROLLBACK")

    return hold
