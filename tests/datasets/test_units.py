"""The time unit of a file is found from its own numbers, and its records come out in microseconds."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.base.errors import SchemaError
from pipeline.datasets import blocks
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.synthetic.files import HEADER, write
from pipeline.datasets.units import UNITS, units_of

TIMED = {column.name for column in FEATURES if column.unit == "us"}
NAMES = [column.name for column in FEATURES]
WIDTH = {"us": 1.0, "ms": 1e-3, "s": 1e-6, "ns": 1e3}  # a microsecond in each unit


@pytest.fixture(scope="module")
def monday(tmp_path_factory):
    """The header and the rows of a simulated file, in microseconds."""
    folder = tmp_path_factory.mktemp("week")
    write(folder, 4000, seed=3)
    _, *rows = next(folder.glob("Tuesday*")).read_text().splitlines()
    return [row.split(",") for row in rows]


def in_unit(row, unit, only=TIMED):
    """The cells of a row with its times in another unit; rates stay per second."""
    return [
        repr(float(cell) * WIDTH[unit]) if name in only and unit != "us" else cell
        for name, cell in zip([*NAMES, "label"], row, strict=True)
    ]


def written(path, rows):
    path.write_text(HEADER + "".join(",".join(row) + "\n" for row in rows))
    return path


def read(path):
    return pa.concat_tables([chunk.records for chunk in CICIDS2017(path).read()]).unify_dictionaries()


def found(path):
    return next(CICIDS2017(path).read()).notes.meaning.units


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_gives_the_same_records(monday, tmp_path, unit):
    usual = read(written(tmp_path / "us.csv", monday))
    path = written(tmp_path / "other.csv", [in_unit(row, unit) for row in monday])
    other = read(path)
    assert (found(path).duration, found(path).gaps) == (unit, unit)
    for name in NAMES:
        np.testing.assert_allclose(other[name], usual[name], rtol=1e-9, atol=1e-6)
        if unit == "ms":
            whole = usual[name].to_numpy()
            assert name not in TIMED or (other[name].to_numpy() == whole).all() or not (whole == np.rint(whole)).all()
    assert ("converted" in found(path).sentence()) == (unit != "us")


def test_gaps_may_have_another_unit_than_durations(monday, tmp_path):
    usual = read(written(tmp_path / "us.csv", monday))
    path = written(tmp_path / "other.csv", [in_unit(row, "s", {"flow_duration"}) for row in monday])
    assert (found(path).duration, found(path).gaps) == ("s", "us")
    assert "gaps between packets in microseconds" in found(path).sentence()
    for name in NAMES:
        np.testing.assert_allclose(read(path)[name], usual[name], rtol=1e-9)


def test_whole_milliseconds_are_milliseconds_too(monday, tmp_path):
    duration = NAMES.index("flow_duration")

    def cut(row):
        return [str(int(float(row[place]) / 1000)) if place == duration else cell for place, cell in enumerate(row)]

    assert found(written(tmp_path / "cut.csv", map(cut, monday))).duration == "ms"


@pytest.mark.parametrize("lines", [1 << 17, 50], ids=["in one block", "in many"])
def test_a_unit_that_changes_half_way_is_refused_with_the_row(monday, tmp_path, monkeypatch, lines):
    monkeypatch.setattr(blocks, "MOST_LINES", lines)
    half = len(monday) // 2
    path = written(tmp_path / "both.csv", [*monday[:half], *(in_unit(row, "ms") for row in monday[half:])])
    with pytest.raises(
        SchemaError, match=r"both\.csv: row .*is in ms, as the rate of packets shows.*began in us"
    ) as caught:
        read(path)
    row = int(str(caught.value).partition("row ")[2].partition(",")[0])
    assert half < row <= half + 10


def test_durations_that_fit_no_rate_are_said_to_fit_none(monday, tmp_path):
    factor = np.random.default_rng(0).uniform(2, 50, len(monday))
    duration = NAMES.index("flow_duration")
    rows = [
        [*row[:duration], str(float(row[duration]) * f), *row[duration + 1 :]]
        for row, f in zip(monday, factor, strict=True)
    ]
    units = found(written(tmp_path / "odd.csv", rows))
    assert not units.agree
    assert "do not fit each other" in units.sentence()
    assert read(tmp_path / "odd.csv").num_rows == len(rows)


def test_records_that_cannot_tell_are_left_as_they_are():
    assert units_of(pa.table({"flow_duration": [1.0]})).duration == ""
    columns = {"flow_duration": 0.0, "flow_packets_per_s": np.inf, "total_fwd_packets": 1.0, "total_bwd_packets": 0.0}
    units = units_of(pa.table({name: np.full(9, value) for name, value in columns.items()}))
    assert (units.duration, units.agree, units.factor("flow_duration")) == ("", True, 1.0)
    assert "Too few records" in units.sentence()
