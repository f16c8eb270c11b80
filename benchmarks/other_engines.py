"""What it costs to spread blocks of records over two processes of this machine by Dask, Ray and Spark.

    pip install --target /tmp/ray ray --constraint constraints.txt
    pip install --target /tmp/spark pyspark --constraint constraints.txt
    python -m benchmarks.other_engines [--ray /tmp/ray] [--spark /tmp/spark] [--blocks 64]

Each engine gets the same function and the same blocks: 8 MB of text in, a table of 20,000 rows and 16 columns out, in
order and a few at a time, as ``pipeline.base.engine`` asks for them. The function does next to nothing, so what is
measured is the engine: seconds until the first result, seconds for all, processor seconds and peak memory of all its
processes together, and megabytes on the disk.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil

ROOT: Final = Path(__file__).resolve().parent.parent
DASK: Final = ("dask", "distributed", "tornado", "msgpack", "toolz", "locket", "partd", "tblib", "zict", "cloudpickle")


def blocks(n: int) -> Iterator[bytes]:
    """Texts of 8 MB."""
    return (bytes([65 + number % 20]) * (8 << 20) for number in range(n))


def work(block: bytes) -> Any:
    """A table of 20,000 rows and 16 columns."""
    import numpy as np
    import pyarrow as pa

    return pa.table({f"c{place}": np.full(20_000, block[place], np.float64) for place in range(16)})


def by_dask(n: int) -> Iterator[Any]:
    """With the engine of this project."""
    from pipeline.base import engine

    with engine.using("dask", workers=2):
        yield from engine.mapped(work, blocks(n))


def by_ray(n: int) -> Iterator[Any]:
    """With tasks, four of which are on their way."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    task, waiting = ray.remote(work), deque[Any]()
    for block in blocks(n):
        waiting.append(task.remote(block))
        while len(waiting) >= 4:
            yield ray.get(waiting.popleft())
    while waiting:
        yield ray.get(waiting.popleft())
    ray.shutdown()


def by_spark(n: int) -> Iterator[Any]:
    """With an RDD of four blocks at a time, as Spark takes all that it is given at once."""
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    given = blocks(n)
    for _ in range(n // 4):
        some = [next(given) for _ in range(4)]
        yield from spark.sparkContext.parallelize(some, 4).map(work).collect()
    spark.stop()


ENGINES: Final = {"dask": by_dask, "ray": by_ray, "spark": by_spark}


def inside(name: str, n: int) -> None:
    """Take all results of an engine; print the seconds until the first one and until the last one."""
    start, rows, first = time.perf_counter(), 0, 0.0
    for table in ENGINES[name](n):
        first = first or time.perf_counter() - start
        rows += table.num_rows
    assert rows == n * 20_000
    print(first, time.perf_counter() - start)


def measured(name: str, n: int, folder: Path | None) -> str:
    """A row of the table."""
    path = os.pathsep.join([str(ROOT), *([str(folder)] if folder else [])])
    command = [sys.executable, "-m", "benchmarks.other_engines", "--inside", name, "--blocks", str(n)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)
    spent: dict[int, float] = {}
    peaks: list[float] = [0.0]
    watch = threading.Thread(target=_watch, args=(psutil.Process(process.pid), spent, peaks))
    watch.start()
    out, _ = process.communicate()
    watch.join()
    if process.returncode:
        return f"| {name} | failed |"
    first, whole = map(float, out.splitlines()[-1].split())
    size = _size(folder) if folder else sum(map(_size, _packages()))
    return f"| {name} | {first:.1f} | {whole:.1f} | {sum(spent.values()):.1f} | {max(peaks):,.0f} | {size:,.0f} |"


def _watch(process: psutil.Process, spent: dict[int, float], peaks: list[float]) -> None:
    """Note processor seconds and shared-out memory of a process and all that it started, until it ends."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        total = 0.0
        for each in [process, *process.children(recursive=True)]:
            try:
                spent[each.pid] = sum(each.cpu_times()[:2])
                total += each.memory_full_info().pss / 1e6
            except psutil.Error:
                continue
        peaks.append(total)
        time.sleep(0.2)


def _packages() -> list[Path]:
    import distributed

    return [Path(distributed.__file__).parents[1] / name for name in DASK]


def _size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=64)
    parser.add_argument("--ray", type=Path, help="folder that Ray is installed in")
    parser.add_argument("--spark", type=Path, help="folder that PySpark is installed in")
    parser.add_argument("--inside", choices=ENGINES, help="one engine, for this command itself")
    options = parser.parse_args()
    if options.inside:
        inside(options.inside, options.blocks)
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.blocks} blocks\n")
    print("| engine | first result s | all s | CPU-s | peak MB | installed MB |\n|---|---:|---:|---:|---:|---:|")
    for name, folder in {"dask": None, "ray": options.ray, "spark": options.spark}.items():
        if name == "dask" or folder:
            print(measured(name, options.blocks, folder), flush=True)


if __name__ == "__main__":
    main()
