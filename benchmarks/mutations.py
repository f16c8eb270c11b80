"""Damaged and hostile files by the thousand: each must be read, with each row accounted for, or refused by name.

::

    python -m benchmarks.mutations [--number 5000] [--seed 0] [--keep FOLDER]

Files of each kind are made from simulated records and changed at random, as the seed says: bits, bytes, parts that are
cut out, doubled, moved or put in from another file, numbers and signs that parsers stumble over. What is packed is
changed before or after it is packed. The process of ``pipeline.datasets.apart`` reads them with the shipped limits.

A file **holds** where it is read and each of its rows is a record or rejected with a reason, or where it is refused
with a reason that its reader gave. It **gives way** where the process ends or does not answer, where a library raises
what no reader expects, where a row is missing or there twice, and where reading takes more than 20 seconds. The program
ends with 1 where one gave way; ``--keep`` keeps those.
"""

import argparse
import bz2
import gzip
import io
import lzma
import random
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from pipeline.base.errors import DataError
from pipeline.datasets.apart.reader import Apart, Asked, EndedError, OddError
from pipeline.datasets.base import Chunk
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.synthetic.files import write
from pipeline.settings.files import Files

LONGEST: Final = 20.0  # seconds
TOKENS: Final = (
    *(b"\0", b"\r", b"\n", b"\r\n", b'"', b"'", b",", b";", b"\t", b"#", b"\x1a", b"\x1b[2J", b"\xff", b"\xc3\x28"),
    *(b"1e999", b"-1e-999", b"NaN", b"inf", b"0x1F", b"1.#INF", b"9" * 400, b"\xef\xbb\xbf", b"\xff\xfe", b"=1+1"),
    *(
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x1f\x8b",
        b"BZh9",
        b"PAR1",
        b"sep=;\n",
        b"," * 5000,
        b"\n" * 5000,
        b"\xe2\x80\xae",
    ),
)


def _csv(text: bytes) -> bytes:
    return text


def _zip(text: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    head, _, rows = text.partition(b"\n")
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a.csv", text)
        archive.writestr("b.csv", head + b"\n" + rows[: len(rows) // 2].rpartition(b"\n")[0] + b"\n")
    return stream.getvalue()


def _parquet(text: bytes) -> bytes:
    stream = io.BytesIO()
    try:
        table = csv.read_csv(pa.BufferReader(text))
        names = table.column_names
        single = [f"{name}.1" if name in names[:place] else name for place, name in enumerate(names)]
        pq.write_table(table.rename_columns(single), stream)
    except (pa.ArrowException, UnicodeError):  # the text is damaged already
        pq.write_table(pa.table({"a": [1]}), stream)
    return stream.getvalue()


KINDS: Final[Mapping[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "csv": (".csv", _csv),
    "gzip": (".csv.gz", gzip.compress),
    "bzip2": (".csv.bz2", bz2.compress),
    "xz": (".csv.xz", lzma.compress),
    "zip": (".zip", _zip),
    "parquet": (".parquet", _parquet),
}


def changed(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """The content with one to four changes; ``other`` is what parts are taken from."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice((1, 4, 40, 400, 4000)))
        match draw.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(data):
                data[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case 4:
                data[at:at] = draw.choice(TOKENS)
            case 5:
                data[at : at + 8] = draw.randbytes(8)
            case 6:
                begin = draw.randrange(len(other) + 1)
                data[at:end] = other[begin : begin + draw.choice((8, 80, 800))]
            case _:
                data = data[:at] if draw.random() < 0.2 else data
                data += draw.choice(TOKENS)
    return bytes(data)


def mutated(kind: str, text: bytes, seed: int) -> bytes:
    """A file of a kind that holds a text, changed before it is packed or after, or both."""
    draw = random.Random(f"{kind} {seed}")
    _, pack = KINDS[kind]
    where = draw.randrange(3)
    inner = changed(text, text, draw) if where < 2 else text
    packed = pack(inner)
    return changed(packed, _zip(text), draw) if where or packed == text else packed


def fault(kind: str, chunks: Iterable[Chunk]) -> str:
    """What is wrong with the rows that were read of a file, "" where each has its place."""
    places: dict[str, Counter[int]] = {}
    for chunk in chunks:
        for table in (chunk.records, chunk.rejected):
            for source, row in zip(
                table.column("source_file").to_pylist(), table.column("row").to_pylist(), strict=True
            ):
                places.setdefault(str(source), Counter())[row] += 1
    for source, rows in places.items():
        rows.pop(0, None)  # the file as a whole
        if max(rows.values(), default=1) > 1:
            return f"{source}: a row is there twice"
        if rows and sorted(rows) != list(range(1, max(rows) + 1)):
            return f"{source}: a row is missing"
    return ""


def asked(path: Path) -> Asked:
    """How the file is read: as records of CICFlowMeter that are to be scored."""
    return Asked(path, "cicids2017", FEATURES, {}, Reading(), {}, ())


class Outcome(NamedTuple):
    """What became of a file: read, refused, or how it gave way."""

    what: str
    why: str = ""


def outcome(apart: Apart, kind: str, path: Path) -> Outcome:
    """Read a file."""
    began = time.monotonic()
    try:
        why = fault(kind, apart.read(asked(path)))
    except (EndedError, OddError) as error:
        return Outcome("gave way", str(error))
    except DataError as error:
        return Outcome("refused", str(error))
    if time.monotonic() - began > LONGEST:
        return Outcome("gave way", f"took more than {LONGEST:g} seconds")
    return Outcome("gave way", why) if why else Outcome("read")


def text_of(folder: Path) -> bytes:
    """Simulated records: a header and some rows of several days."""
    write(folder, 600, 0)
    files = sorted(folder.glob("*.csv"))
    rows = [line for file in files for line in file.read_bytes().splitlines()[1:9]]
    return b"\n".join([files[0].read_bytes().splitlines()[0], *rows]) + b"\n"


def run(number: int, seed: int, folder: Path, keep: Path | None) -> tuple[dict[str, Counter[str]], list[str], int]:
    """Try so many files; returns counts by kind, what gave way, and the peak memory of the process in bytes."""
    text, files = text_of(folder), Files(**Files.absent())
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    gave_way, peak = [], 0
    with closing(Apart(files.memory, files.seconds)) as apart:
        for place in range(number):
            kind = [*KINDS][place % len(KINDS)]
            path = folder / f"{kind}-{place}{KINDS[kind][0]}"
            path.write_bytes(mutated(kind, text, seed + place))
            done = outcome(apart, kind, path)
            counts[kind][done.what] += 1
            if done.what == "gave way":
                gave_way.append(f"{path.name}: {done.why}")
                shutil.copy(path, keep) if keep else None
            if place % 100 == 99:
                peak = max(peak, _peak(apart.pid))
            path.unlink()
    return counts, gave_way, peak


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def main() -> int:
    """Run the benchmark from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--number", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    if chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        counts, gave_way, peak = run(chosen.number, chosen.seed, Path(folder), chosen.keep)
    print("| kind | tried | read, each row accounted for | refused with a reason | gave way |\n|---|---|---|---|---|")
    for kind, found in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"| {kind} | {found.total():,} | {found['read']:,} | {found['refused']:,} | {found['gave way']:,} |")
    print(f"\nPeak memory of the process that reads: {peak >> 20:,} MiB.")
    print(*gave_way[:40], sep="\n")
    return bool(gave_way)


if __name__ == "__main__":
    sys.exit(main())
