"""As many records as are asked for, in the published CSV format of CIC-IDS-2017, drawn from fewer.

Attacks are as frequent as in the published captures (Sharafaldin, Lashkari, Ghorbani, "Toward Generating a New
Intrusion Detection Dataset and Intrusion Traffic Characterization", 2018). A record that is drawn again lasts a bit
longer or shorter, and all its times and rates follow, so that most records are no copies and the identities between
features hold. A port above 1,023 becomes one beside it.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

PUBLISHED: Final = {
    "BENIGN": 2_273_097,
    "DoS Hulk": 231_073,
    "PortScan": 158_930,
    "DDoS": 128_027,
    "DoS GoldenEye": 10_293,
    "FTP-Patator": 7_938,
    "SSH-Patator": 5_897,
    "DoS slowloris": 5_796,
    "DoS Slowhttptest": 5_499,
    "Bot": 1_966,
    "Web Attack Brute Force": 1_507,
    "Web Attack XSS": 652,
    "Infiltration": 36,
    "Web Attack Sql Injection": 21,
    "Heartbleed": 11,
}
SPREAD: Final = 0.1  # standard deviation of the logarithm of how much longer a record lasts
BESIDE: Final = 64  # ports
AT_ONCE: Final = 100_000  # records in memory
PORT, DURATION, LABEL = " Destination Port", " Flow Duration", " Label"
TIMES: Final = re.compile(r"(IAT|Active|Idle) ?")
RATES: Final = re.compile(r"(Bytes|Packets)/s")


def write(base: Path, target: Path, records: int, seed: int = 0) -> None:
    """Write about ``records`` records into ``target``: a plain CSV for each file of ``base``, plain or gzip'd.

    The same arguments give the same bytes.
    """
    target.mkdir(parents=True)
    headers, frames = {}, {}
    for file in sorted(each for each in base.iterdir() if ".csv" in each.name):
        name = file.name.removesuffix(".gz")
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            headers[name] = stream.readline()
            stream.seek(0)
            frames[name] = pd.read_csv(stream, low_memory=False)
    weights = _weights(frames)
    for number, (name, frame) in enumerate(frames.items()):
        rng = np.random.default_rng([seed, number])
        share = weights[name] / sum(each.sum() for each in weights.values())
        with (target / name).open("wb") as stream:
            stream.write(headers[name])
            for drawn in _drawn(rng, frame, share, records):
                csv.write_csv(_as_text(drawn), stream, csv.WriteOptions(include_header=False, quoting_style="none"))


def _weights(frames: dict[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """How often each record of each file is drawn, relative to others; an attack that is not published stays as is."""
    names = {name: frame[LABEL].map(_plain) for name, frame in frames.items()}
    counts = pd.concat(names).value_counts()
    of_label = {label: PUBLISHED.get(label, count) / count for label, count in counts.items()}
    return {name: labels.map(of_label).to_numpy() for name, labels in names.items()}


def _plain(label: str) -> str:
    """A label without the character that was lost in the names of web attacks."""
    return " ".join(re.sub(r"[^\w -]|ï¿½", " ", label.strip()).replace(" - ", " ").split())


def _drawn(
    rng: np.random.Generator, frame: pd.DataFrame, share: np.ndarray, records: int
) -> Iterator[dict[str, np.ndarray]]:
    """The records of a file, ``AT_ONCE`` at a time; ``share`` is that of each record among those of all files."""
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    left = round(records * share.sum())
    while left > 0:
        rows = rng.choice(len(frame), min(left, AT_ONCE), p=share / share.sum())
        yield _varied(rng, {name: values[rows] for name, values in columns.items()})
        left -= len(rows)


def _varied(rng: np.random.Generator, records: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same records, longer or shorter by a bit each, at other ports."""
    before = records[DURATION]
    lasts = np.where(before > 0, np.maximum(1, np.rint(before * np.exp(rng.normal(0, SPREAD, len(before))))), before)
    factor = np.divide(lasts, before, out=np.ones(len(before)), where=before > 0)
    varied = dict(records)
    for name, values in records.items():
        if name == DURATION or TIMES.search(name):
            longer = values * factor
            varied[name] = _whole(name, longer).astype(np.int64) if values.dtype.kind == "i" else longer
        elif RATES.search(name):
            varied[name] = values / factor
    port, free = records[PORT], 65_536 - 1_024
    varied[PORT] = np.where(port > 1_023, 1_024 + (port - 1_024 + rng.integers(BESIDE, size=len(port))) % free, port)
    return varied


def _whole(name: str, values: np.ndarray) -> np.ndarray:
    """Whole numbers: the least ones are rounded down and the largest ones up, so that means stay between them."""
    if name.endswith("Min"):
        return np.floor(values + 1e-6)
    return np.ceil(values - 1e-6) if name.endswith("Max") else np.rint(values)


def _as_text(records: dict[str, np.ndarray]) -> pa.Table:
    """Numbers as they are, but ``Infinity`` and ``NaN`` as Java spells them."""
    columns = {}
    for name, values in records.items():
        odd = values.dtype.kind == "f" and not np.isfinite(values).all()
        words = {"inf": "Infinity", "nan": "NaN"}
        columns[name] = pa.array([words.get(repr(each), repr(each)) for each in values.tolist()] if odd else values)
    return pa.table(columns)
