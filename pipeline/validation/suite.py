"""The suite of expectations over the records, kept as code.

Each expectation belongs to a scope, the frame that it is about:

=============== ==================================================================================
``columns``     no rows, the columns of the table
``types``       a row per column: its type, the type that it should have
``labels``      provenance of a batch of records
``features``    features of a batch of records
``identities``  a column per identity of ``identities.py``: its residual in a batch of records
``stream``      the keys of all records: id, duplicates
``classes``     the same keys: whether both labels are present
``leaks``       a row per feature: whether it tells all attacks, as a label that leaked does
``one_feature`` a row per attack: whether one feature alone tells it
``one_day``     a row per attack: whether it was captured on one day only
=============== ==================================================================================
"""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.datasets.base import record_schema
from pipeline.datasets.schema import ATTACKS, FEATURES, Column
from pipeline.settings.validate import Limits
from pipeline.validation.identities import identities

ALWAYS_KNOWN = ("record_id", "source_file", "row", "y", "attack", "family")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

Expectation = Any  # great_expectations.expectations.Expectation, which is imported where it is used
Suite = Any  # great_expectations.ExpectationSuite


def great_expectations() -> Any:
    """Great Expectations, imported on first use: that takes seconds, and it uses modules that Python deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations as gx
        import great_expectations.expectations
    return gx


def suite(
    limits: Limits,
    columns: Sequence[Column] = FEATURES,
    attacks: Mapping[str, tuple[str, tuple[str, ...]]] = ATTACKS,
) -> Suite:
    """All expectations over records with the features ``columns`` and the labels ``attacks``.

    A hard expectation is one whose breach makes every later figure meaningless: schema, types, labels, identity of
    rows, both classes present, undefined numbers, arithmetic identities. A soft one is a fault that the published
    extractors are known to make in some records (negative durations and header lengths, Engelen et al. 2021).
    """
    gx = great_expectations()
    expectations = [
        *_schema(columns),
        *_labels(attacks, limits),
        *_stream(limits),
        *_shortcuts(),
        *(expectation for column in columns for expectation in _feature(column, limits)),
        *_identities(columns, limits),
    ]
    return gx.ExpectationSuite(name="records", expectations=expectations)


def expect(
    name: str, about: tuple[str, str, str], columns: Sequence[str], allowed: float | None = None, **settings: Any
) -> Expectation:
    """A Great Expectations object that carries what a finding needs.

    Args:
        name: the class of the expectation.
        about: scope, kind (a heading of the report) and what is expected, in words.
        columns: the columns that a finding names and whose values it shows.
        allowed: share of rows that may break it; None where a share makes no sense.
        settings: of the expectation; ``hard`` (default True) becomes its severity.
    """
    scope, kind, text = about
    hard = settings.pop("hard", True)
    settings |= {} if allowed is None else {"mostly": 1.0 - allowed}
    return getattr(great_expectations().expectations, name)(
        **settings,
        description=text,
        severity="critical" if hard else "warning",
        meta={"scope": scope, "kind": kind, "columns": list(columns), "hard": hard, "allowed": allowed or 0.0},
    )


def _schema(columns: Sequence[Column]) -> Iterator[Expectation]:
    names = record_schema(tuple(columns)).names
    about = ("columns", "schema", "the columns are those of the canonical schema, in its order")
    yield expect("ExpectTableColumnsToMatchOrderedList", about, (), column_list=names)
    about = ("types", "schema", "each column has its canonical type")
    yield expect("ExpectColumnPairValuesToBeEqual", about, ("column",), 0.0, column_A="type", column_B="declared")


def _labels(attacks: Mapping[str, tuple[str, tuple[str, ...]]], limits: Limits) -> Iterator[Expectation]:
    for name in ALWAYS_KNOWN:
        yield expect("ExpectColumnValuesToNotBeNull", ("labels", "labels", "is known"), (name,), 0.0, column=name)
    families = sorted({family for family, _ in attacks.values()})
    for name, known, text, hard in (
        ("attack", sorted(attacks), "is a known attack or benign", not limits.open_vocabulary),
        ("family", families, "is a known family", not limits.open_vocabulary),
        ("y", [0, 1], "is 0 or 1", True),
        ("day", list(DAYS), "is a day of the week or unknown", False),
    ):
        about = ("labels", "labels", text)
        yield expect("ExpectColumnValuesToBeInSet", about, (name,), 0.0, column=name, value_set=known, hard=hard)
    about = ("labels", "labels", "family is that of the attack")
    yield _none_above("mismatch_family", 0.0, about, ("attack", "family"), 0.0, hard=True)
    about = ("labels", "labels", "y is 0 exactly where no label names an attack")
    yield _none_above("mismatch_y", 0.0, about, ("attack", "y"), 0.0, hard=True)
    about = ("labels", "labels", "counts from 1")
    yield expect("ExpectColumnValuesToBeBetween", about, ("row",), 0.0, column="row", min_value=1)


def _stream(limits: Limits) -> Iterator[Expectation]:
    about = ("classes", "classes", "records that no label calls an attack are present")
    yield expect("ExpectColumnDistinctValuesToContainSet", about, ("y",), column="y", value_set=[0])
    about = ("stream", "duplicates", "is unique")
    yield expect("ExpectColumnValuesToBeUnique", about, ("record_id",), 0.0, column="record_id")
    about = ("stream", "duplicates", "repeats no earlier record in all features")
    yield _none_above("repeats", 0.0, about, ("attack",), limits.duplicate_share, hard=False)
    about = ("stream", "duplicates", "has no exact duplicate with another attack")
    yield _none_above("disagrees", 0.0, about, ("attack",), limits.disagreeing_share, hard=False)


def _feature(column: Column, limits: Limits) -> Iterator[Expectation]:
    name = column.name
    if not column.may_be_undefined:
        about = ("features", "undefined numbers", "is told" if column.categorical else "is a finite number")
        # frames.py makes Infinity null
        yield expect("ExpectColumnValuesToNotBeNull", about, (name,), limits.missing_share, column=name)
    else:
        about = ("features", "undefined numbers", "is not null")
        yield expect("ExpectColumnValuesToNotBeNull", about, (name,), limits.null_share, column=name)
    if column.may_be_undefined and not column.categorical:
        about = ("features", "undefined numbers", "is not infinite")
        bounds = {"min_value": -sys.float_info.max, "max_value": sys.float_info.max}
        yield expect("ExpectColumnValuesToBeBetween", about, (name,), limits.infinite_share, column=name, **bounds)
    ends = {"at least": column.low, "at most": column.high}
    span = " and ".join(f"{words} {end:g}" for words, end in ends.items() if end is not None)
    if span and not column.categorical:
        yield expect(
            "ExpectColumnValuesToBeBetween",
            ("features", "ranges", f"is {span} ({column.unit})"),
            (name,),
            limits.outside_share,
            column=name,
            min_value=column.low,
            max_value=column.high,
            hard=False,
        )


def _identities(columns: Sequence[Column], limits: Limits) -> Iterator[Expectation]:
    for identity in identities(columns):
        allowed = limits.scrambled_share if identity.hard else limits.identity_share
        about = ("identities", "identities", identity.name)
        yield _none_above(identity.name, limits.tolerance, about, identity.columns, allowed, hard=identity.hard)


def _shortcuts() -> Iterator[Expectation]:
    for scope, text, columns, hard in (
        ("leaks", "no feature alone tells all attacks from benign", (), True),
        ("one_feature", "no feature alone tells it from benign", ("attack",), False),
        ("one_day", "was captured on several days", ("attack",), False),
    ):
        yield _none_above(scope, 0.0, (scope, "shortcuts", text), columns, 0.0, hard=hard)


def _none_above(
    column: str, bound: float, about: tuple[str, str, str], columns: Sequence[str], allowed: float, *, hard: bool
) -> Expectation:
    return expect("ExpectColumnValuesToBeBetween", about, columns, allowed, column=column, max_value=bound, hard=hard)
