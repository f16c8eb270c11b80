"""How long the views of the triage page take.

::

    python -m benchmarks.triage [--alerts 100000] [--marks 2000] [--rounds 20]

A table goes to standard output: for each view the median and the longest of some rounds, in milliseconds of wall clock
and of this processor's time, and the size of the page. The page runs in this process, without a network. The alerts are
made up by ``benchmarks.made_alerts``. Reading all of them at the start, and one more file later, is timed as well.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks import made_alerts
from flows.triage.app import build
from flows.triage.desk import Desk
from flows.triage.sessions import Sessions
from pipeline.artifacts import labels
from pipeline.artifacts.labels import Label

SECRET = "the secret of a benchmark"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--alerts", type=int, default=100_000)
    parser.add_argument("--marks", type=int, default=2_000, help="records that are marked before")
    parser.add_argument("--rounds", type=int, default=20, help="times that each view is asked for")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        made_alerts.project(Path(folder))
        made_alerts.write(given.alerts)
        asyncio.run(_measure(given))


async def _measure(given: argparse.Namespace) -> None:
    desk = Desk()
    took = [("read all alerts at the start", *_timed(desk.refresh))]
    made_alerts.write(1_000, seed=1, first=900)
    took += [("read a new file of 1,000 alerts", *_timed(desk.refresh))]
    shown = desk.index.now
    columns = dict.fromkeys(made_alerts.FEATURES, 1.5)
    some = shown.record_id[:: max(1, len(shown.record_id) // given.marks)][: given.marks].tolist()
    labels.append_all([Label(number, "bot", "ada", "2026-03-02T20:00:00+00:00", columns=columns) for number in some])
    took += [(f"read {len(some):,} marks", *_timed(desk.marks.now))]
    for name, wall, cpu in took:
        print(f"{name:42} {wall:9.0f} ms wall {cpu:9.0f} ms CPU")
    app = build(desk, Sessions(SECRET))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        await client.post("/login", data={"name": "ada", "secret": SECRET})
        print(f"\n{shown.table.num_rows:,} alerts in {len(shown.incidents):,} incidents, {given.rounds} rounds each\n")
        print(f"{'view':42} {'median':>8} {'longest':>8} {'CPU':>8} {'size':>9}")
        for name, path in _views(desk).items():
            await _row(client, name, path, given.rounds)
    print(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB of memory at most")


async def _row(client: httpx.AsyncClient, name: str, path: str, rounds: int) -> None:
    walls, cpus, size = [], [], 0
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = await client.get(path)
        walls.append(1e3 * (time.perf_counter() - wall))
        cpus.append(1e3 * (time.process_time() - cpu))
        assert answer.status_code == 200, answer.text
        size = len(answer.content)
    cells = f"{np.median(walls):6.0f} ms {max(walls):5.0f} ms {np.median(cpus):5.0f} ms {size / 1024:5.0f} KiB"
    print(f"{name:42} {cells}")


def _views(desk: Desk) -> dict[str, str]:
    shown = desk.index.now
    largest = max(shown.incidents, key=lambda each: each.alerts)
    key = shown.table.column("alert")[0].as_py()
    return {
        "queue": "/",
        "queue, last page": "/?page=9999999",
        "queue, all states": "/?state=all",
        "queue, one network and port": "/?host=192.168.0.0/16&port=443",
        "queue, two hours": "/?since=2026-03-02T09:00&until=2026-03-02T11:00",
        "queue, marked as attack": "/?mark=confirmed&state=all",
        f"incident of {largest.alerts:,} alerts": f"/incident/{largest.incident}",
        "its last page": f"/incident/{largest.incident}?page=9999999",
        "alert": f"/alert/{key}",
        "marks": "/marks",
        "model": "/model",
    }


def _timed(body: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of wall clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    body()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


if __name__ == "__main__":
    main()
