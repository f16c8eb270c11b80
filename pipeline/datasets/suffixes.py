"""How the names of files end, by what they hold: the one table that readers and doors look at."""

from collections.abc import Mapping
from typing import Final

PACKINGS: Final = (".gz", ".bz2", ".xz", ".zst", ".zstd")
ARCHIVE: Final = ".zip"


def packed(*suffixes: str, packings: tuple[str, ...] = PACKINGS) -> tuple[str, ...]:
    """The same suffixes, and each of them with a suffix of compression behind it."""
    return tuple(f"{suffix}{packing}" for suffix in suffixes for packing in ("", *packings))


def packing(name: str) -> str:
    """The suffix of compression of a name, "" for none."""
    return next((suffix for suffix in PACKINGS if name.lower().endswith(suffix)), "")


TEXTS: Final = packed(".csv", ".tsv")
NAMED: Final = packed(".txt", ".tab", ".dat", ".data")  # that a text may be called too, if it is named itself
JSON_LINES: Final = (".jsonl", ".ndjson")
PARQUET: Final = (".parquet", ".pq", ".parquet.gzip")  # the last as pandas' manual calls one
IPC: Final = (".arrow", ".feather", ".ipc")
TYPED: Final = (*PARQUET, *IPC)
FLOWS: Final = (*TEXTS, *packed(*JSON_LINES), *TYPED)
ARRAYS: Final = ".npz"
CAPTURES: Final = packed(".pcap", ".pcapng", ".cap", packings=(".gz",))
ZEEK: Final = packed(".log", ".labeled", ".json", ".jsonl")
SURICATA: Final = packed(".json", ".jsonl", ".log", *(f".json.{number}" for number in range(1, 8)))

READ_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "cicids2017": FLOWS,
    "nfstream": TEXTS,
    "nslkdd": packed(".txt", ".csv"),
    "pcap": CAPTURES,
    "suricata": SURICATA,
    "synthetic": FLOWS,
    "table": (*FLOWS, ARRAYS),
    "zeek": ZEEK,
}
"""Data set -> the files that it reads in a folder."""
# Records to be scored have no labels, which arrays must have.
INCOMING: Final = tuple(
    dict.fromkeys([*(suffix for read in READ_BY.values() for suffix in read if suffix != ARRAYS), ARCHIVE])
)
