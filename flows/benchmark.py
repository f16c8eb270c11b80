"""The evaluation protocol: a grid of DVC experiments over the seven stages, and one table of what they found.

::

    python -m flows.benchmark [--designs paper ...] [--configurations knn ...] [--seeds 0 1 2 3 4]
                              [--path ../shared/data] [--out data/reports/benchmark]

``benchmark.yaml`` names the designs (which records, which attacks are unseen) and the configurations. Each cell is a
DVC experiment under a name that ends with a digest of its settings, the records and the code, so that a grid that was
interrupted goes on where it was: what is done is found, what failed or was killed is run again, and stages whose
settings agree come from DVC's run cache. The workspace is left alone. Two grids in one clone share the cells: each runs
what the other does not, so that starting the same command twice uses two cores. With several GPUs, the program starts
itself so often that each is used.
"""

import os

from flows import arguments
from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()
    arguments.parse("benchmark")  # help, and what is misspelt, before the imports below, which take seconds

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.grid import cells, experiments, fan_out, settings
from flows.grid.cells import Cell, Grid
from flows.grid.experiments import Snapshot
from flows.grid.results import Result
from flows.grid.results import table as tabulate
from flows.reports import pages
from flows.reports.decisions import now
from flows.runtime import gpu, graph, program, servers, working_copy
from flows.runtime.devices import Device
from flows.runtime.own_names import artefact_key
from flows.runtime.shown import create_markdown_artifact, get_run_logger
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import append_line, write_bytes, write_csv, write_json
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.base.escaping import on_terminal

BUSY = "busy"


class IncompleteError(FlowsculptError):
    """A grid some cells of which failed."""

    has_lines = True


@task(task_run_name="{cell.name}", cache_policy=NO_CACHE, persist_result=False)
def run_cell(snapshot: Snapshot, cell: Cell, wait: bool) -> State[Any]:
    """Find the experiment of a cell, or run it; one that another grid runs is waited for, or left for later."""
    result = _found(snapshot, cell)
    if result:
        return Completed(name="Found", data=result)
    with experiments.held(snapshot.root, cell.name, wait) as lock:
        if lock is None:
            return Completed(name="Busy", message="another grid runs it", data=BUSY)
        result = _found(snapshot, cell) or _run(snapshot, cell, lock)
    if result.error:
        return Failed(message=result.error.partition("\n")[0], data=IncompleteError(result.error))
    return Completed(message=result.commit[:7], data=result)


def _found(snapshot: Snapshot, cell: Cell) -> Result | None:
    commit = experiments.find(snapshot.root).get(cell.name)
    metrics = experiments.metrics(snapshot, commit) if commit else None
    return Result(cell, commit, metrics) if commit and metrics else None


def _run(snapshot: Snapshot, cell: Cell, lock: Any) -> Result:
    log, started = get_run_logger().info, time.monotonic()
    _note(snapshot, cell, "started")
    try:
        devices, number = _devices(snapshot, [cell])
        with gpu.lease(devices, log, number) as device:
            commit = experiments.run(snapshot, cell.name, cell.params, log, lock, device)
    except FlowsculptError as error:
        _note(snapshot, cell, "failed", error=str(error))
        return Result(cell, error=str(error))
    _note(snapshot, cell, "done", commit=commit, seconds=round(time.monotonic() - started, 1))
    return Result(cell, commit, experiments.metrics(snapshot, commit))


def _devices(snapshot: Snapshot, cells: Sequence[Cell]) -> tuple[tuple[Device, ...], int]:
    """The GPUs of this machine that cells may use, and how many the one that needs most of them needs."""
    stages = [stage.name for stage in graph.stages(snapshot.root) if stage.device]
    number = max((gpu.wanted(cell.params.get(name, {}).get("fit")) for cell in cells for name in stages), default=1)
    return gpu.usable_devices() if stages else (), number


def _note(snapshot: Snapshot, cell: Cell, event: str, **more: object) -> None:
    """A line in the log of cells, which is only appended to."""
    append_line(snapshot.root / paths.CELLS, {"time": now(), "cell": cell.name, "event": event, **more})


@flow(name="benchmark", persist_result=False)
def benchmark(
    designs: tuple[str, ...] = (),
    configurations: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (),
    path: str = "",
    out: str = "data/reports/benchmark",
) -> State[Any]:
    """Run a grid of experiments, as far as it is not done, and write its table.

    A cell that fails stops no other; the table says why it failed, and the flow then ends as failed. The next run of
    the same grid tries it again.

    Args:
        designs: Names of designs in benchmark.yaml; none means all.
        configurations: Names of configurations in benchmark.yaml; none means all.
        seeds: Of the splits and of both fits; none means those of benchmark.yaml.
        path: The folder that the records of every design lie below; none means that of benchmark.yaml.
        out: The folder that the table goes to; that of a deployment lies in the project.
    """
    gpu.outlast_outages()
    try:
        root = Path.cwd()
        _require_own(root / out)
        asked = Grid.of(config.read(), settings.load(), designs, configurations, seeds)
        snapshot = Snapshot.take(root)
        experiments.sweep(root)
        cells = [cell for design in asked.designs for cell in _cells(snapshot, asked, design, path)]
        get_run_logger().info(f"{len(cells)} cells: {len(asked.designs)} designs, seeds {list(asked.seeds)}")
        devices, number = _devices(snapshot, cells)
        command = _command(asked, path)
        with fan_out.helpers(fan_out.places(len(devices), number) - 1, command, root):
            results = _results(snapshot, cells)
        if fan_out.is_helper():
            return Completed(message=f"{len(results)} cells", data=("", ""))
        return _published(asked, results, root / out)
    except FlowsculptError as error:
        return Failed(message=str(error).partition("\n")[0], data=error)


def _require_own(out: Path) -> None:
    """Refuse a folder elsewhere where a deployment runs: whoever may start runs could write over any file."""
    if runtime.deployment.id and not out.resolve().is_relative_to(Path.cwd().resolve()):
        raise ConfigError(f"out: {out}: a run of a deployment writes into the project alone")


def _command(asked: Grid, path: str) -> list[str]:
    """The command that runs the same grid."""
    chosen = {"--designs": asked.designs, "--configurations": asked.configurations, "--seeds": asked.seeds}
    options = [str(each) for option, values in chosen.items() for each in (option, *values)]
    return [sys.executable, "-m", "flows.benchmark", *options, *(["--path", path] if path else [])]


def _cells(snapshot: Snapshot, asked: Grid, design: str, path: str) -> Iterable[Cell]:
    """The cells of a design, for which its records are read once."""
    folder = Path(
        os.path.normpath(snapshot.root / (path or asked.settings.path) / asked.settings.designs[design].records)
    )
    records = experiments.digest(folder)
    params = asked.start(design)
    params["ingest"]["path"] = str(folder)
    name = f"ingest-{cells.ingest_identity(params, records, snapshot.code)[: cells.DIGITS]}"
    families = experiments.families(snapshot, name, params, get_run_logger().info)
    return asked.cells(design, folder, families, lambda each: cells.identity(each, records, snapshot.code))


def _results(snapshot: Snapshot, cells: Sequence[Cell]) -> list[Result]:
    """What became of each cell; those that another grid runs come last."""
    results = {cell.name: _result(cell, run_cell(snapshot, cell, False, return_state=True)) for cell in cells}
    for cell in cells:
        if results[cell.name] is None:
            get_run_logger().info(f"another grid in this clone runs {cell.name}: waiting for it")
            results[cell.name] = _result(cell, run_cell(snapshot, cell, True, return_state=True))
    return [result for result in results.values() if result]


def _result(cell: Cell, state: State[Any]) -> Result | None:
    done: Any = state.result(raise_on_failure=False)
    if isinstance(done, Exception):
        return Result(cell, error=str(done))
    return done if isinstance(done, Result) else None


def _published(asked: Grid, done: Sequence[Result], out: Path) -> State[Any]:
    table = tabulate(asked, done)
    page = pages.markdown(table, asked)
    write_json(out / "benchmark.json", table | {"cells": [_cell(each) for each in done]})
    write_csv(out / "benchmark.csv", pages.flat(table["rows"]))
    write_bytes(out / "benchmark.md", page.encode())
    create_markdown_artifact(page, key=artefact_key("benchmark"))
    if table["failures"]:
        first = table["failures"][0]
        said = f"{len(table['failures'])} of {len(done)} cells failed, first {first['cell']}: {first['error']}"
        return Failed(message=said.partition("\n")[0], data=IncompleteError(f"{on_terminal(page)}\n{said}"))
    return Completed(message=f"{len(done)} cells", data=(page, str(out)))


def _cell(result: Result) -> dict[str, Any]:
    cell = result.cell
    own = {key: getattr(cell, key) for key in ("design", "configuration", "seed", "left_out", "name", "digest")}
    return {**own, "unseen": list(cell.unseen), "commit": result.commit, "error": result.error}


# The program.


def main(options: Sequence[str] | None = None) -> int:
    """Run the grid from the command line; returns the exit code."""
    given = arguments.parse("benchmark", options)
    return program.run("benchmark", lambda: _benchmarked(given))


def _benchmarked(given: argparse.Namespace) -> str:
    working_copy.check(Path.cwd())
    # A misspelt name waits for no server.
    Grid.of(config.read(), settings.load(), given.designs, given.configurations, given.seeds)
    with servers.connected("benchmark"):
        gpu.ensure_devices()
        chosen = (tuple(given.designs), tuple(given.configurations), tuple(given.seeds))
        page, out = program.result(benchmark(*chosen, given.path, given.out, return_state=True))
    return f"{on_terminal(page)}\nthe table    {out}/benchmark.md, .csv, .json"


if __name__ == "__main__":
    sys.exit(main())
