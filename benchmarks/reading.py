"""How fast each dialect of CSV is read, beside the plain one, in MB per second of processor time.

    python -m benchmarks.reading FILE [--megabytes N] [--rounds K] [--before FOLDER]

FILE is a CSV of CIC-IDS-2017, plain or gzip'd. Its rows are repeated until the plain form has ``N`` MB, and the result
is written in each dialect. The other readers get the plain form: pandas and polars where they are installed, and with
``--before`` the checkout of another version of this project.

It prints a line for each dialect and each other reader: its name, the records that it read, its MB per second, and
that rate as a share of the rate of the plain form. The MB are those of the file. For UTF-16, gzip and zstd they are
those of the plain form, which holds the same records. The sides take turns, ``K`` times, and each reads its file three
times; the least processor time counts. What cannot read its file has no line.
"""

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMED = """
import sys, time
{imports}
least = float("inf")
for _ in range(3):
    start = time.process_time()
    rows = {read}
    least = min(least, time.process_time() - start)
print(rows, least)
"""
READ = TIMED.format(
    imports="from pathlib import Path; from pipeline.datasets.cicids2017 import CICIDS2017",
    read="sum(chunk.records.num_rows for chunk in CICIDS2017(Path(sys.argv[1])).read())",
)
OTHERS = {
    "pandas": TIMED.format(imports="import pandas", read="len(pandas.read_csv(sys.argv[1]))"),
    "polars": TIMED.format(
        imports="import polars", read="polars.read_csv(sys.argv[1], infer_schema_length=10000).height"
    ),
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
    """Least seconds of processor time of three readings in one process, and records; no records where it fails."""
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code, path], cwd=root, env=environment, capture_output=True, text=True)
    rows, seconds = done.stdout.split() if done.returncode == 0 else ("0", "inf")
    return float(seconds), int(rows)


def main() -> None:
    """Print a row for each dialect and reader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--megabytes", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
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
