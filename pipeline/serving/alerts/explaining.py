"""The reasons of alerts, as the columns of their table."""

from typing import Any, Final

import pyarrow as pa

from pipeline.serving.alerts.schema import REASON, SCHEMA
from pipeline.serving.causes import Explained

COLUMNS: Final = (
    "driver",
    "kind",
    "family",
    "family_probability",
    "reasons",
    "similar_benign",
    "similar_attack",
    "similar_attack_name",
)
_PARTS: Final = tuple(field.name for field in REASON)


def columns(explained: list[Explained | None]) -> dict[str, pa.Array]:
    """The columns of n alerts that say why; null where one was not explained."""
    plain = {name: pa.array([_of(each, name) for each in explained], SCHEMA.field(name).type) for name in _SIMPLE}
    return {**plain, "reasons": _reasons(explained)}


def _of(each: Explained | None, name: str) -> Any:
    return None if each is None else getattr(each, name)


_SIMPLE: Final = tuple(name for name in COLUMNS if name != "reasons")


def _reasons(explained: list[Explained | None]) -> pa.Array:
    """(n,) lists of reasons, built column by column: an object for each of their fields would take far longer."""
    found = [None if each is None else [cause.reason for cause in each.causes] for each in explained]
    flat = [reason for each in found for reason in each or ()]
    fields = [pa.array([getattr(reason, name) for reason in flat], REASON.field(name).type) for name in _PARTS]
    offsets, start = [], 0
    for each in found:
        offsets.append(None if each is None else start)
        start += len(each or ())
    struct = pa.StructArray.from_arrays(fields, fields=[*REASON])
    return pa.ListArray.from_arrays(pa.array([*offsets, start], pa.int32()), struct, type=SCHEMA.field("reasons").type)
