"""The alert: one record that a model finds anomalous at a level, with who, when, how unlikely, and why.

The table of alerts has a row for each. ``VERSION`` changes when a column is renamed or removed or changes its meaning.
A new column does not change it. What a file or a model does not have is null.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import pyarrow as pa

VERSION: Final = "1"
VERSION_KEY: Final = b"flowsculpt.alert_schema"  # in the metadata of a table

REASON: Final = pa.struct(
    [
        pa.field("feature", pa.string()),  # name of a feature or of a context fact
        pa.field("value", pa.float64()),  # of the record, in raw units; null for a word
        pa.field("word", pa.string()),  # of the record; null for a number
        pa.field("unit", pa.string()),  # such as B, us or packets; "" for none
        pa.field("low", pa.float64()),  # 98 of 100 benign records lie from here ...
        pa.field("high", pa.float64()),  # ... to here; null for a word
        pa.field("usual", pa.string()),  # what is usual, in words
        pa.field("share", pa.float64()),  # of the surprise that this feature explains, from 0 to 1
        pa.field("text", pa.string()),  # all of it in one sentence
    ]
)

SCHEMA: Final = pa.schema(
    [
        pa.field("alert", pa.string(), nullable=False),  # key: the same record judged by the same model
        pa.field("record_id", pa.uint64(), nullable=False),
        pa.field("time", pa.timestamp("us")),  # of the record, in UTC
        pa.field("protocol", pa.int16()),  # IANA number
        pa.field("src_ip", pa.string()),
        pa.field("src_port", pa.int32()),
        pa.field("dst_ip", pa.string()),
        pa.field("dst_port", pa.int32()),
        pa.field("flow_id", pa.string()),
        pa.field("sensor", pa.string()),  # as alerts.sensor names it; null for none
        pa.field("source_file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("source_sha256", pa.string(), nullable=False),  # of the file that was scored
        pa.field("model", pa.string(), nullable=False),  # its name in the registry
        pa.field("model_version", pa.int32(), nullable=False),
        pa.field("model_digest", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("p_value", pa.float64(), nullable=False),
        pa.field("level", pa.string(), nullable=False),  # the strictest threshold that it exceeds, such as p99.9
        pa.field("promise", pa.float64()),  # share of benign records that exceed it, at most; null for no promise
        pa.field("verdict", pa.string(), nullable=False),  # benign, unknown or anomalous
        pa.field("group", pa.string(), nullable=False),  # name of the decision that judged; "" for that on all records
        pa.field("driver", pa.string()),  # the score with the largest share: margin, detector, head or context
        pa.field("kind", pa.string()),  # kind of reason, by which incidents are told apart; null: not explained
        pa.field("family", pa.string()),  # of the known attacks that it is most like; null where the model keeps none
        pa.field("family_probability", pa.float64()),  # what the head gives it; null without one that tells families
        pa.field("reasons", pa.list_(REASON)),  # two to five, the strongest first; null: not explained
        pa.field("similar_benign", pa.uint64()),  # record id of the most similar benign record that the model keeps
        pa.field("similar_attack", pa.uint64()),  # and of the most similar known attack
        pa.field("similar_attack_name", pa.string()),
    ],
    metadata={VERSION_KEY: VERSION.encode()},
)


@dataclass(frozen=True)
class Reason:
    """One feature that drove an alert; the attributes are the fields of ``REASON``."""

    feature: str
    value: float | None
    word: str | None
    unit: str
    low: float | None
    high: float | None
    usual: str
    share: float
    text: str


@dataclass(frozen=True)
class Alert:
    """One row of the table of alerts; the attributes are the columns of ``SCHEMA``."""

    alert: str
    record_id: int
    time: datetime | None
    protocol: int | None
    src_ip: str | None
    src_port: int | None
    dst_ip: str | None
    dst_port: int | None
    flow_id: str | None
    sensor: str | None
    source_file: str
    row: int
    source_sha256: str
    model: str
    model_version: int
    model_digest: str
    score: float
    p_value: float
    level: str
    promise: float | None
    verdict: str
    group: str
    driver: str | None
    kind: str | None
    family: str | None
    family_probability: float | None
    reasons: tuple[Reason, ...]
    similar_benign: int | None
    similar_attack: int | None
    similar_attack_name: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """A row of ``pa.Table.to_pylist``; an alert that was not explained has no reasons."""
        reasons = tuple(Reason(**each) for each in row["reasons"] or ())
        return cls(**{**row, "reasons": reasons})


def key_of(record_id: int, digest: str) -> str:
    """The key of the alert that a model, by its digest, raises on a record: 32 hexadecimal digits."""
    return hashlib.sha256(f"{record_id:016x} {digest}".encode()).hexdigest()[:32]


def alerts_of(table: pa.Table) -> list[Alert]:
    """The rows of a table of alerts."""
    return [Alert.of(row) for row in table.to_pylist()]
