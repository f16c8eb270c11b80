"""How fast each dialect is read, beside the plain one: MB of the file per second of processor time, in one run.

    python -m benchmarks.reading FILE [--megabytes N] [--rounds K] [--before FOLDER]

FILE is a CSV of CIC-IDS-2017, plain or gzip'd. Its rows are repeated until the plain form has ``N`` MB, and written in
each dialect. A text is counted by its own bytes, but UTF-16 and Parquet by those of the plain form: they hold the same
records. The readers take turns; of ``K`` rounds the least processor time counts. ``before`` is a checkout of another
version of this project, which reads the plain form as well; pandas and polars read it where they are installed.
"""

import argparse
import gzip
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READ = """
import sys
from pathlib import Path
from pipeline.datasets.cicids2017 import CICIDS2017
print(sum(chunk.records.num_rows for chunk in CICIDS2017(Path(sys.argv[1])).read()))
"""
OTHERS = {
    "pandas": "import pandas, sys; print(len(pandas.read_csv(sys.argv[1])))",
    "polars": "import polars, sys; print(polars.read_csv(sys.argv[1], infer_schema_length=10000).height)",
}


def dialects(plain: bytes) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """Name of each dialect, of its file, and what writes it."""
    head, _, body = plain.partition(b"\n")
    yield "plain", "plain.csv", lambda: plain
    yield "semicolons", "semicolons.csv", lambda: plain.replace(b",", b";")
    yield "decimal commas", "decimal.csv", lambda: plain.replace(b",", b";").replace(b".", b",")
    yield "tabs", "tabs.tsv", lambda: plain.replace(b",", b"\t")
    yield "UTF-16", "utf16.csv", lambda: plain.decode("utf-8", "replace").encode("utf-16")
    yield "quoted", "quoted.csv", lambda: _quoted(plain)
    yield "trailing commas", "trailing.csv", lambda: head + b"\n" + body.replace(b"\n", b",\n")
    yield "sep= line", "sep.csv", lambda: b"sep=,\n" + plain
    yield "header repeated", "repeated.csv", lambda: _repeated(head, body)
    yield "spelt nulls", "nulls.csv", lambda: _spelt(plain)
    yield "cp1252", "cp1252.csv", lambda: plain.replace(b"BENIGN", b"BENIGN\xa0")
    yield "gzip", "plain.csv.gz", lambda: gzip.compress(plain, 1)
    yield "zstd", "plain.csv.zst", lambda: _zstd(plain)


def _quoted(plain: bytes) -> bytes:
    rows = plain.rstrip(b"\n").split(b"\n")
    return b"".join(b'"' + row.strip(b"\r").replace(b",", b'","') + b'"\n' for row in rows)


def _repeated(head: bytes, body: bytes, every: int = 5_000) -> bytes:
    lines = body.split(b"\n")
    parts = [b"\n".join(lines[start : start + every]) for start in range(0, len(lines), every)]
    return head + b"\n" + (b"\n" + head + b"\n").join(parts)


def _spelt(plain: bytes, every: int = 50) -> bytes:
    """Each ``every``-th row has an error of a spreadsheet in its third cell."""
    lines = plain.split(b"\n")
    for place in range(1, len(lines) - 1, every):
        cells = lines[place].split(b",")
        lines[place] = b",".join([*cells[:2], b"#DIV/0!", *cells[3:]])
    return b"\n".join(lines)


def _zstd(plain: bytes) -> bytes:
    import pyarrow as pa

    packed: bytes = pa.compress(plain, codec="zstd", asbytes=True)
    return packed


def tiled(file: Path, megabytes: int) -> bytes:
    """The rows of a file, repeated."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        head, _, body = stream.read().replace(b"\r", b"").partition(b"\n")
    body = body if body.endswith(b"\n") else body + b"\n"
    return head + b"\n" + body * -(-megabytes * 1_000_000 // len(body))


def processor_time(code: str, path: Path, root: Path) -> tuple[float, int]:
    """Seconds of processor time that a process takes, without those of its imports; and what it prints."""
    environment = os.environ | {"PYTHONPATH": str(root)}
    empty = code.rpartition("print(")[0].rpartition("\n")[0] or code.partition(";")[0]
    seconds = []
    for part in (empty, code):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", part, path], cwd=root, env=environment, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return seconds[1] - seconds[0], int(done.stdout or 0)


def main() -> None:
    """Print a row for each dialect and reader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--megabytes", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    plain = tiled(given.file, given.megabytes)
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, tuple[str, Path, Path, int]] = {}
        for name, file, write in dialects(plain):
            path, content = Path(folder) / file, write()
            path.write_bytes(content)
            counted = len(plain) if name in {"UTF-16", "gzip", "zstd"} else len(content)
            sides[name] = (READ, path, ROOT, counted)
        first = sides["plain"][1]
        if given.before:
            sides["plain, before"] = (READ, first, given.before.resolve(), len(plain))
        sides |= {name: (code, first, ROOT, len(plain)) for name, code in OTHERS.items()}
        report(sides, given.rounds)


def report(sides: dict[str, tuple[str, Path, Path, int]], rounds: int) -> None:
    """Measure each side ``rounds`` times in turn, and print MB per second and the ratio to the plain form."""
    least: dict[str, float] = {}
    rows: dict[str, int] = {}
    for _ in range(rounds):
        for name, (code, path, root, _) in sides.items():
            seconds, rows[name] = processor_time(code, path, root)
            least[name] = min(seconds, least.get(name, seconds))
    rate = {name: sides[name][3] / 1e6 / seconds for name, seconds in least.items() if rows[name]}
    for name, megabytes in rate.items():
        print(f"{name:16} {rows[name]:9,} records {megabytes:7.1f} MB/s {megabytes / rate['plain']:5.2f} of plain")


if __name__ == "__main__":
    main()
