"""What the recent past is made of: who talked to whom, when, on which port, how much, and whether it was answered."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.errors import SchemaError

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

WHO: Final = ("timestamp", "src_ip", "dst_ip")
"""Columns without which a record has no context."""

_PORTS: Final = ("dst_port", "destination_port")
_SENT: Final = (
    "total_length_fwd_packets", "fwd_ip_bytes", "fwd_frame_bytes", "fwd_bytes", "fwd_payload_bytes",
)  # fmt: skip
_RECEIVED: Final = tuple(name.replace("fwd", "bwd") for name in _SENT)
_ANSWERS: Final = ("total_bwd_packets", "bwd_packets")
_RESETS: Final = ("rst_flag_count", "rst_packets", "bwd_reset", "fwd_reset")
_STATE: Final = "state"
_FAILED_STATES: Final = frozenset({"S0", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH"})  # conn_state of Zeek
_MOST_BYTES: Final = 2**40  # of one record; more is no count of bytes
NO_PORT: Final = -1
READS: Final = (*WHO, *_PORTS, *_SENT, *_RECEIVED, *_ANSWERS, *_RESETS, _STATE)
"""Columns that a context may be made of, as far as records have them."""


@dataclass(frozen=True)
class Talks:
    """n records, as far as their context needs them; all (n,).

    Attributes:
        time: microseconds since 1970.
        source, destination: 64-bit hashes of the addresses.
        port: of the destination; ``NO_PORT`` where a record has none.
        failed: 1 where no packet came back, or the connection was reset or refused; else 0.
        sent, received: bytes from the source, and bytes back.
    """

    time: Ints
    source: Ints
    destination: Ints
    port: Ints
    failed: Ints
    sent: Ints
    received: Ints

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: Ints | Mask | slice) -> Self:
        """The same records at ``rows``."""
        return type(self)(*(getattr(self, each.name)[rows] for each in fields(self)))

    @classmethod
    def joined(cls, *parts: "Talks") -> Self:
        """The records of ``parts``, one part after the other."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    @classmethod
    def none(cls) -> Self:
        """No records."""
        return cls(*(np.zeros(0, np.int64) for _ in fields(cls)))


def unknown(n: int) -> tuple[Talks, Mask]:
    """N records of which nothing is known that a context needs."""
    return Talks(*(np.zeros(n, np.int64) for _ in fields(Talks))), np.zeros(n, bool)


def can_have(columns: Collection[str]) -> bool:
    """Whether records with these columns can have a context."""
    return {*WHO} <= {*columns}


def reads(columns: Collection[str]) -> list[str]:
    """Those of the columns of records that ``talks_of`` reads."""
    return [name for name in READS if name in {*columns}]


def talks_of(table: pa.Table) -> tuple[Talks, Mask]:
    """Records as talks, and which have a time and both addresses, (n,); the values of the others mean nothing.

    Args:
        table: n records, with ``WHO`` among their columns.

    Raises:
        SchemaError: a column holds no numbers.
    """
    columns = {*table.column_names}
    time = table.column("timestamp").cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    source, destination = table.column("src_ip"), table.column("dst_ip")
    known = _present(time) & _present(source) & _present(destination)
    talks = Talks(
        time.fill_null(0).to_numpy(),
        hashed(source),
        hashed(destination),
        _first(table, _PORTS, columns, NO_PORT),
        _failed(table, columns),
        _first(table, _SENT, columns),
        _first(table, _RECEIVED, columns),
    )
    return talks, known


def hashed(column: pa.ChunkedArray) -> Ints:
    """(n,) hashes of texts; that of a text depends on nothing else."""
    words = column if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()
    encoded = words.unify_dictionaries().combine_chunks()
    texts = [*encoded.dictionary.to_pylist(), ""]
    digests = (blake2b(str(text).encode(), digest_size=8).digest() for text in texts)
    hashes = np.array([int.from_bytes(digest, "big", signed=True) for digest in digests], np.int64)
    found: Ints = hashes[encoded.indices.fill_null(len(texts) - 1).to_numpy()]
    return found


def _present(column: pa.ChunkedArray) -> Mask:
    valid: Mask = column.is_valid().to_numpy()
    return valid


def _first(table: pa.Table, names: tuple[str, ...], columns: Collection[str], unknown: int = 0) -> Ints:
    """(n,) whole numbers of the first of the columns that the records have."""
    found = [name for name in names if name in columns]
    values = np.full(table.num_rows, unknown, np.int64)
    for name in reversed(found):
        numbers = _numbers(table, name)
        values = np.where(np.isfinite(numbers), np.nan_to_num(numbers).clip(NO_PORT, _MOST_BYTES), values)
    return values.astype(np.int64)


def _failed(table: pa.Table, columns: Collection[str]) -> Ints:
    """(n,) 1 where a record has no answer, a reset, or a state that says so."""
    failed = np.zeros(table.num_rows, bool)
    for names, says in _SIGNS.items():
        for name in (name for name in names if name in columns):
            failed |= says(_numbers(table, name))
    if _STATE in columns:
        failed |= np.isin(_texts(table.column(_STATE)), [*_FAILED_STATES])
    return failed.astype(np.int64)


_SIGNS: Final[Mapping[tuple[str, ...], Callable[[NDArray[np.float64]], Mask]]] = {
    _ANSWERS: lambda packets: packets == 0,
    _RESETS: lambda resets: resets > 0,
}


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    column = table.column(name)
    try:
        values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise SchemaError(f"column {name!r} holds {column.type}, allowed are numbers: {error}") from error
    return values


def _texts(column: pa.ChunkedArray) -> NDArray[Any]:
    return np.asarray(column.cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False)).astype(str)
