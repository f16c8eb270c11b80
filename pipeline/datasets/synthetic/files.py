"""Writes simulated records as the eight files of CIC-IDS-2017's ``MachineLearningCSV``, with their published quirks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator
from numpy.typing import NDArray
from pyarrow import csv

from pipeline.base import durable
from pipeline.base.errors import ConfigError
from pipeline.datasets.packets.bricks import Columns
from pipeline.datasets.synthetic.attacks import ATTACKS
from pipeline.datasets.synthetic.behaviours import BEHAVIOURS, Behaviour
from pipeline.datasets.synthetic.conversations import CLIENT, SECOND, Floats, Ints
from pipeline.datasets.synthetic.days import (
    ATTACKS_PER_50_000,
    FEWEST,
    SPELLINGS,
    UNLABELLED,
    UNLABELLED_SHARE,
    WEEK,
    Hours,
)
from pipeline.datasets.synthetic.flowmeter import extract, split
from pipeline.datasets.synthetic.packets import transmit

SMALLEST = 500  # records in which every attack still finds its place
REPEATED_SHARE = 0.02  # records that stand there twice
DISPUTED_SHARE = 0.002  # records that stand there twice, once as an attack and once as benign

HEADER = (
    " Destination Port, Flow Duration, Total Fwd Packets, Total Backward Packets,Total Length of Fwd Packets,"
    " Total Length of Bwd Packets, Fwd Packet Length Max, Fwd Packet Length Min, Fwd Packet Length Mean,"
    " Fwd Packet Length Std,Bwd Packet Length Max, Bwd Packet Length Min, Bwd Packet Length Mean,"
    " Bwd Packet Length Std,Flow Bytes/s, Flow Packets/s, Flow IAT Mean, Flow IAT Std, Flow IAT Max, Flow IAT Min,"
    "Fwd IAT Total, Fwd IAT Mean, Fwd IAT Std, Fwd IAT Max, Fwd IAT Min,Bwd IAT Total, Bwd IAT Mean, Bwd IAT Std,"
    " Bwd IAT Max, Bwd IAT Min,Fwd PSH Flags, Bwd PSH Flags, Fwd URG Flags, Bwd URG Flags, Fwd Header Length,"
    " Bwd Header Length,Fwd Packets/s, Bwd Packets/s, Min Packet Length, Max Packet Length, Packet Length Mean,"
    " Packet Length Std, Packet Length Variance,FIN Flag Count, SYN Flag Count, RST Flag Count, PSH Flag Count,"
    " ACK Flag Count, URG Flag Count, CWE Flag Count, ECE Flag Count, Down/Up Ratio, Average Packet Size,"
    " Avg Fwd Segment Size, Avg Bwd Segment Size, Fwd Header Length,Fwd Avg Bytes/Bulk, Fwd Avg Packets/Bulk,"
    " Fwd Avg Bulk Rate, Bwd Avg Bytes/Bulk, Bwd Avg Packets/Bulk,Bwd Avg Bulk Rate,Subflow Fwd Packets,"
    " Subflow Fwd Bytes, Subflow Bwd Packets, Subflow Bwd Bytes,Init_Win_bytes_forward, Init_Win_bytes_backward,"
    " act_data_pkt_fwd, min_seg_size_forward,Active Mean, Active Std, Active Max, Active Min,Idle Mean, Idle Std,"
    " Idle Max, Idle Min, Label\n"
)


@dataclass(frozen=True)
class _Table:
    """Simulated records: features, the file that each belongs to, when it begins (hours), what it really is."""

    features: Columns
    file: Ints
    hour: Floats
    kind: NDArray[np.str_]


def write(folder: Path, records: int, seed: int) -> list[Path]:
    """Simulate ``records`` records and write them as the eight published files.

    The same arguments give the same bytes. Each file is written beside its place and then moved there.

    Args:
        folder: where the files go; it is made where it is absent.
        records: all of them together; about 22 % are labelled as attacks.
        seed: of every draw, not negative.

    Returns:
        The files, in the order of the week.

    Raises:
        ConfigError: for too few records, or a negative seed.
    """
    if records < SMALLEST:
        raise ConfigError(f"synthetic: records must be at least {SMALLEST}, given {records}")
    if seed < 0:
        raise ConfigError(f"synthetic: seed must be at least 0, given {seed}")
    durable.make_folder(folder)
    table = _simulate(records, seed)
    label, row = _repeated(np.random.default_rng([seed, 0]), table)
    order = np.lexsort((table.hour[row], table.file[row]))
    label, row = label[order], row[order]
    cuts = np.searchsorted(table.file[row], np.arange(len(WEEK) + 1))
    return [
        _write_file(folder / day.file, {name: values[row[a:b]] for name, values in table.features.items()}, label[a:b])
        for day, a, b in zip(WEEK, cuts, cuts[1:], strict=False)
    ]


def counts(records: int) -> dict[str, int]:
    """How many records of each attack, of the unlabelled scan and of the benign rest make up ``records``."""
    attacks = {name: max(round(share * records / 50_000), FEWEST) for name, share in ATTACKS_PER_50_000.items()}
    benign = records - sum(attacks.values())
    unlabelled = max(round(UNLABELLED_SHARE * benign), FEWEST)
    return {**attacks, UNLABELLED: unlabelled, "benign": benign - unlabelled}


def simulate(rng: Generator, behaviour: Behaviour, count: int, labelled: bool = False) -> tuple[Columns, Floats]:
    """The features of ``count`` records of one behaviour, and when each begins in its conversation (hours).

    Args:
        rng: the draws.
        behaviour: what the hosts do.
        count: records wanted.
        labelled: keep those only that the client begins: the published labels name the attacker as the source.
    """
    link, turns = behaviour(rng, count + 8)
    records = split(transmit(rng, link, turns))
    usable = records.packets.side[records.starts] == CLIENT if labelled else np.ones(len(records), bool)
    chosen = rng.permutation(np.flatnonzero(usable))[:count]
    records = records.select(np.sort(chosen))
    return extract(records, link), records.begins / (3600 * SECOND)


def _simulate(records: int, seed: int) -> _Table:
    parts = []
    for number, (name, count) in enumerate(counts(records).items(), 1):
        if name == "benign":
            parts += _benign(count, [seed, number])
        else:
            parts.append(_attack(np.random.default_rng([seed, number]), name, count))
    features = {key: np.concatenate([part.features[key] for part in parts]) for key in parts[0].features}
    return _Table(
        features, *(np.concatenate([getattr(part, key) for part in parts]) for key in ("file", "hour", "kind"))
    )


def _attack(rng: Generator, name: str, count: int) -> _Table:
    features, offset = simulate(rng, ATTACKS[name], count, labelled=True)
    file = next(number for number, day in enumerate(WEEK) if name in day.attacks)
    hour = rng.uniform(*WEEK[file].attacks[name], len(offset)) + offset
    return _Table(features, np.full(len(offset), file), hour, np.full(len(offset), name))


def _benign(count: int, seed: list[int]) -> list[_Table]:
    share = np.array([weight for weight, _ in BEHAVIOURS.values()])
    edges = np.rint(np.cumsum(share) / share.sum() * count).astype(int)
    weight = np.array([day.benign for day in WEEK])
    hours: list[Hours] = [day.hours for day in WEEK]
    begin, end = np.array(hours).T
    parts = []
    for number, (_, behaviour) in enumerate(BEHAVIOURS.values()):
        rng = np.random.default_rng([*seed, number])
        features, offset = simulate(rng, behaviour, int(edges[number] - (edges[number - 1] if number else 0)))
        file = rng.choice(len(WEEK), len(offset), p=weight / weight.sum())
        hour = rng.uniform(begin[file], end[file]) + offset
        parts.append(_Table(features, file, hour, np.full(len(offset), "benign")))
    return parts


def _repeated(rng: Generator, table: _Table) -> tuple[NDArray[np.object_], Ints]:
    """Labels and rows of the table, with some benign rows replaced by copies of others."""
    rows = np.arange(len(table.kind))
    names = np.array(list(SPELLINGS))
    code = np.searchsorted(names, table.kind, sorter=np.argsort(names))
    label = np.array(list(SPELLINGS.values()), object)[np.argsort(names)][code]
    benign, attacks = np.flatnonzero(table.kind == "benign"), np.flatnonzero(label != SPELLINGS["benign"])
    repeated, disputed = (max(round(share * len(rows)), 3) for share in (REPEATED_SHARE, DISPUTED_SHARE))
    places = rng.permutation(benign)
    rows[places[:repeated]] = rng.choice(rows[places[repeated + disputed :]], repeated)
    rows[places[repeated : repeated + disputed]] = rng.choice(attacks, disputed)
    return label, rows


def _write_file(path: Path, features: Columns, label: NDArray[np.object_]) -> Path:
    table = pa.table({**{name: _text(values) for name, values in features.items()}, "label": pa.array(label)})
    with durable.atomic(path) as temporary, temporary.open("wb") as file:
        file.write(HEADER.encode())
        csv.write_csv(table, file, csv.WriteOptions(include_header=False, quoting_style="none"))
    return path


def _text(values: NDArray[np.generic]) -> pa.Array:
    """Numbers as they are, but ``Infinity`` and ``NaN`` as Java spells them."""
    array = pa.array(values)
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return array
    words = pc.cast(array, pa.string())
    words = pc.if_else(pc.is_inf(array), "Infinity", words)
    return pc.if_else(pc.is_nan(array), "NaN", words)
