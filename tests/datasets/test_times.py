"""Timestamps come back as they were meant, whatever the format that the whole column has."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import ConfigError
from pipeline.datasets import times
from pipeline.datasets.reading import Reading
from pipeline.datasets.times import Evidence

START = datetime(2023, 7, 3, 0, 10, 5)
WEEKS = [START + timedelta(days=day, hours=5 * day, minutes=7 * day) for day in range(20)]
WRITTEN = {
    "iso": lambda time: time.isoformat(),
    "iso with a space": lambda time: time.isoformat(sep=" "),
    "iso without padding": lambda time: f"{time.year}-{time.month}-{time.day} {time:%H:%M:%S}",
    "year first": lambda time: f"{time:%Y/%m/%d %H:%M:%S}",
    "day first": lambda time: f"{time:%d/%m/%Y %H:%M:%S}",
    "month first": lambda time: f"{time:%m/%d/%Y %H:%M:%S}",
    "month first on a clock of 12 hours": lambda time: f"{time:%m/%d/%Y %I:%M:%S %p}",
    "day first on a clock of 12 hours": lambda time: f"{time:%d/%m/%Y %I:%M:%S} {time:%p}".replace("AM", "a.m."),
    "short": lambda time: f"{time.month}/{time.day}/{time:%y %H:%M:%S}",
    "dotted": lambda time: f"{time:%d.%m.%Y %H:%M:%S}",
    "dashed": lambda time: f"{time:%d-%m-%Y %H:%M:%S}",
    "quoted": lambda time: f'" {time:%d-%m-%Y %H:%M:%S} "',
    "name of the month": lambda time: f"{time:%b %d, %Y %H:%M:%S}",
    "name in the middle": lambda time: f"{time:%d-%b-%Y %H:%M:%S}",
    "web server": lambda time: f"{time:%d/%b/%Y:%H:%M:%S} +0000",
    "mail": lambda time: f"{time:%a, %d %b %Y %H:%M:%S} GMT",
    "ctime": lambda time: f"{time:%a %b %d %H:%M:%S %Y}",
    "compact": lambda time: f"{time:%Y%m%dT%H%M%SZ}",
    "utc": lambda time: f"{time.isoformat()}Z",
    "east": lambda time: f"{(time + timedelta(hours=5, minutes=30)).isoformat()}+05:30",
    "seconds": lambda time: str(int(time.replace(tzinfo=UTC).timestamp())),
    "milliseconds": lambda time: str(1000 * int(time.replace(tzinfo=UTC).timestamp())),
    "microseconds": lambda time: f"{1_000_000 * int(time.replace(tzinfo=UTC).timestamp())}.0",
    "nanoseconds": lambda time: str(1_000_000_000 * int(time.replace(tzinfo=UTC).timestamp())),
}


def read(cells, zone="UTC", time_format="auto"):
    texts = pa.array(cells, pa.string())
    reading = Reading.of(time_format, zone, ())
    evidence = Evidence()
    evidence.add(texts)
    found = times.of_settings(reading) or evidence.format(reading.zone)
    return times.read(texts, found).to_pylist(), found


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
def test_every_format_is_found_from_the_column(written):
    found, shape = read([written(time) for time in WEEKS])
    assert found == WEEKS
    assert not shape.ambiguous
    assert shape.doubts() == []


@given(st.lists(st.datetimes(datetime(1995, 1, 1), datetime(2090, 1, 1)), min_size=1))
def test_fractions_of_a_second_are_kept(moments):
    assert read([moment.isoformat() for moment in moments])[0] == moments
    assert read([f"{moment:%d.%m.%Y %H:%M:%S.%f}" for moment in [*moments, START.replace(day=13)]])[0][:-1] == moments


@given(moments=st.lists(st.datetimes(datetime(1995, 1, 1), datetime(2090, 1, 1)), min_size=1))
def test_epochs_are_read_to_the_microsecond(moments):
    micros = [(moment - datetime(1970, 1, 1)) // timedelta(microseconds=1) for moment in moments]
    assert read([f"{micro // 10**6}.{micro % 10**6:06d}" for micro in micros])[0] == moments
    assert read([str(micro) for micro in micros])[0] == moments


def test_one_day_above_12_decides_for_all():
    assert read(["03/07/2023 00:10:00", "03/13/2023 00:10:00"])[0][0] == datetime(2023, 3, 7, 0, 10)
    assert read(["03/07/2023 00:10:00", "13/07/2023 00:10:00"])[0][0] == datetime(2023, 7, 3, 0, 10)


def test_where_nothing_decides_the_day_comes_first_and_that_is_said():
    found, shape = read(["03/07/2023 00:10:00", "04/07/2023 00:10:00"])
    assert found[0] == datetime(2023, 7, 3, 0, 10)
    assert shape.ambiguous
    assert "'03/07/2023 00:10:00' may be read both ways" in shape.sentence()
    assert "ingest.time_format" in shape.sentence()
    assert not read(["07/07/2023 00:10:00"])[1].ambiguous


def test_days_and_months_that_contradict_each_other_are_not_guessed():
    found, shape = read(["03/13/2023 00:10:00", "13/03/2023 00:10:00", "01/02/2023 00:10:00"])
    assert found == [None] * 3
    assert "contradict each other (13/03/2023 00:10:00 and 03/13/2023 00:10:00)" in shape.sentence()


@pytest.mark.parametrize(
    ("cells", "hours"),
    [
        (["7/7/2017 8:59", "7/7/2017 3:30", "7/7/2017 12:10"], [8, 15, 12]),
        (["14/02/2018 08:58:28", "14/02/2018 02:31:35", "01/01/1970 08:00:00"], [8, 14, 8]),
        (["7/7/2017 8:59", "7/7/2017 3:30", "7/7/2017 13:10"], [8, 3, 13]),
        (["7/7/2017 8:59", "7/7/2017 3:30", "7/7/2017 0:10"], [8, 3, 0]),
        (["7/7/2017 8:59 am", "7/7/2017 3:30 am"], [8, 3]),
        (["7/7/2023 8:59", "7/7/2023 3:30", "7/7/2023 12:10"], [8, 3, 12]),
        (["2017-07-07 08:59", "2017-07-07 03:30"], [8, 3]),
    ],
    ids=["2017", "2018", "a later hour", "midnight", "am", "another year", "iso"],
)
def test_hours_are_in_the_afternoon_in_published_captures_alone(cells, hours):
    found, shape = read(cells)
    assert [time.hour for time in found] == hours
    assert shape.afternoon == (hours[1] > 12)
    assert ("afternoon" in shape.sentence()) == shape.afternoon


@pytest.mark.parametrize(
    "cell", ["31/02/2023 10:00", "2023-13-01 10:00", "2023-01-01 25:00", "noon", "12:00:00", "0.5"]
)
def test_what_is_no_time_is_not_read(cell):
    assert read([cell, "2023-01-01 10:00:00"])[0] == [None, datetime(2023, 1, 1, 10)]


def test_numbers_that_are_no_times_of_this_age_are_not_read():
    found, shape = read(["0.0", "1.5", "900"])
    assert found == [None] * 3
    assert "no times since 1970" in shape.sentence()


def test_an_empty_cell_is_null_and_misses_nothing():
    cells = pa.array(["", "NaN", " - ", None, "x"], pa.string())
    assert times.read(cells, Evidence().format()).null_count == 5
    assert times.blank(cells).to_pylist() == [True] * 4 + [False]


def test_times_with_an_offset_and_numbers_are_stored_in_the_zone_of_the_settings():
    zone = "Europe/Berlin"
    summer, winter = datetime(2023, 7, 3, 10, tzinfo=UTC), datetime(2023, 1, 3, 10, tzinfo=UTC)
    expected = [datetime(2023, 7, 3, 12), datetime(2023, 1, 3, 11)]
    assert read([time.isoformat() for time in (summer, winter)], zone)[0] == expected
    assert read([str(time.timestamp()) for time in (summer, winter)], zone)[0] == expected
    assert read(["2023-07-03T10:00:00", "2023-01-03T10:00:00"], zone)[0] == [
        time.replace(tzinfo=None) for time in (summer, winter)
    ]


def test_a_format_may_be_named():
    assert read(["3_7_2023 1.05"], time_format="%d_%m_%Y %H.%M")[0] == [datetime(2023, 7, 3, 1, 5)]
    assert read(["03/07/2023 01:05", "x"], time_format="%m/%d/%Y %H:%M")[0] == [datetime(2023, 3, 7, 1, 5), None]
    zoned = ["03/07/2023 01:05 +0100"]
    assert read(zoned, "Asia/Tokyo", "%m/%d/%Y %H:%M %z")[0] == [datetime(2023, 3, 7, 9, 5)]


def test_a_setting_that_is_no_format_or_no_zone_is_refused():
    with pytest.raises(ConfigError, match=r"ingest\.time_format is 'iso', allowed is auto"):
        Reading.of("iso", "UTC", ())
    with pytest.raises(ConfigError, match=r"ingest\.time_zone is 'Europe/Berlinn'.*did you mean 'Europe/Berlin'"):
        Reading.of("auto", "Europe/Berlinn", ())
    assert Reading.of("auto", "Europe/Berlin", ()).zone == ZoneInfo("Europe/Berlin")
