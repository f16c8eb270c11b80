"""The records of one call of a model, read as those of a file are: names, words, units, and the model's contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd
import pyarrow as pa

from pipeline.base.errors import ConfigError, SchemaError
from pipeline.datasets import extractors, units, words
from pipeline.datasets.extractors import extractor_of
from pipeline.datasets.meaning import Meaning
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.units import TIMED, in_microseconds
from pipeline.serving import frames, record_columns, time_units
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import FEWEST, WARN, ContractCheck
from pipeline.serving.time_units import AUTO, Found
from pipeline.settings.scoring import ContractRules

BESIDE: Final = tuple(dict.fromkeys([*units.TELLING, *extractors.TELLING]))  # what shows the units and the tool
_WHOLE: Final = frozenset(column.name for column in FEATURES if column.integer)


@dataclass(frozen=True)
class Call:
    """The records of one call, and what was found of them.

    Attributes:
        records: canonical column -> (n,) values, times in microseconds.
        state: how they stand to the contract of the model: ``kept``; ``broken``; ``undecided``: there are too few of
            them to tell; ``none``: the model is older than contracts.
        sentences: what the caller should know, what is broken first.
    """

    records: Mapping[str, pa.Array]
    state: str
    sentences: tuple[str, ...] = ()


def read(frame: pd.DataFrame, bundle: Bundle, time_unit: str = AUTO, rules: ContractRules = WARN) -> Call:
    """Read the records of a call.

    Args:
        frame: n raw records; see ``frames.records``.
        bundle: the model.
        time_unit: of their times, one of ``time_units.TIME_UNITS``; ``auto``: it is found from the records.
        rules: when they break the contract, and what then.

    Raises:
        ConfigError: there is no such unit, or the model reads no flows.
        SchemaError: a column is missing, two mean the same one, times are in several units, or the contract is broken
            and the rules refuse that.
        DataError: a column holds what it should not.
    """
    _require_unit(time_unit, bundle)
    given = frames.records(frame, bundle, BESIDE if bundle.is_of_flows else ())
    record_columns.require(bundle.columns, given)
    found, meaning = _understood(given, tuple(map(str, frame.columns)), bundle, time_unit)
    records = {name: in_microseconds(name, each, meaning.units, name in _WHOLE) for name, each in given.items()}
    check = ContractCheck(bundle.contract, rules)
    is_short = len(frame) < FEWEST
    check.look(pa.table({}) if is_short else _checked(records, bundle), meaning)
    broken = [*found.faults, *check.broken()]
    if broken and rules.action == "refuse":
        raise SchemaError(f"the records of this call: {' '.join(broken)} They are refused, as scoring.contract asks.")
    state = _state(bundle, broken, is_short or bool(found.doubts))
    return Call(records, state, (*broken, *found.doubts, *found.notices))


def _require_unit(time_unit: str, bundle: Bundle) -> None:
    time_units.require_known(time_unit)
    if time_unit != AUTO and not bundle.is_of_flows:
        raise ConfigError(f"time_unit is {time_unit!r}, but the model reads no flows of CICFlowMeter; leave it out")


def _understood(
    given: Mapping[str, pa.Array], header: Sequence[str], bundle: Bundle, time_unit: str
) -> tuple[Found, Meaning]:
    """What the records show of their units and of the tool that wrote them."""
    if not bundle.is_of_flows:
        return Found(), Meaning()
    shown = pa.table({name: given[name].cast(pa.float64(), safe=False) for name in BESIDE if _is_number(given, name)})
    if not any(column.name in TIMED for column in bundle.columns):
        return Found(), Meaning(extractor=extractor_of(header, shown))
    found = time_units.find(shown, time_unit)
    return found, Meaning(units=found.units, extractor=extractor_of(header, shown))


def _is_number(given: Mapping[str, pa.Array], name: str) -> bool:
    """Whether a column is there and holds numbers; one that the model does not read may hold anything."""
    return name in given and (pa.types.is_integer(given[name].type) or pa.types.is_floating(given[name].type))


def _checked(records: Mapping[str, pa.Array], bundle: Bundle) -> pa.Table:
    """The columns that the model reads as the records of a file have them: float64, or dictionaries of words.

    Raises:
        DataError: a column holds what it should not.
    """
    table = record_columns.table(bundle.columns, records)
    columns = {}
    for column in bundle.columns:
        values = table.column(column.name)
        if column.categorical:
            columns[column.name] = words.respelt(words.of_values(values).dictionary_encode())
        else:
            columns[column.name] = values.cast(pa.float64(), safe=False)
    return pa.table(columns)


def _state(bundle: Bundle, broken: Sequence[str], is_unsure: bool) -> str:
    if broken:
        return "broken"
    return "none" if bundle.contract is None else "undecided" if is_unsure else "kept"
