"""Files of the kinds that people have: their labels, times and units mean what their owner expects."""

import csv
import re
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import DataError
from pipeline.datasets import blocks
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.extractors import Extractor
from pipeline.datasets.incoming import incoming
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.synthetic.files import write
from pipeline.datasets.tally import Tally

CASES = Path(__file__).parents[3] / "shared" / "cases" / "formats"
REAL = Path(__file__).parents[3] / "shared" / "data"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the files of ../shared/cases/formats are not there")
NEEDED = tuple(column for column in FEATURES if column.name != "destination_port")


def case(name: str) -> Path:
    """The one file of a case."""
    (path,) = (CASES / name).iterdir()
    return path


def trained(path: Path, **settings) -> pa.Table:
    """The records as ingest reads them."""
    return pa.concat_tables([chunk.records for chunk in CICIDS2017(path, **settings).read()]).unify_dictionaries()


def scored(path: Path) -> pa.Table:
    """The records as scoring reads them."""
    return scored_by(path, NEEDED)


def scored_by(path: Path, needed: tuple) -> pa.Table:
    """The records as a model reads them that needs these columns."""
    chunks = incoming(path, "cicids2017", needed).read()
    return pa.concat_tables([chunk.records for chunk in chunks]).unify_dictionaries()


def labels(records: pa.Table) -> tuple[dict, dict]:
    return Counter(records["attack"].to_pylist()), Counter(records["y"].to_pylist())


BOTH = pytest.mark.parametrize("read", [trained, scored])


@needs_cases
@BOTH
@pytest.mark.parametrize("name", ["d36_binary_label", "d53_label_spelt"])
def test_words_for_benign_mean_benign(read, name):
    assert labels(read(case(name))) == ({"benign": 59}, {0: 59})


@needs_cases
@BOTH
def test_a_label_that_says_nothing_yet_is_no_attack(read):
    assert labels(read(case("d19_need_manual_label"))) == ({"unlabelled": 59}, {None: 59})


@needs_cases
@BOTH
def test_a_label_of_nan_is_no_attack(read):
    path = case("d37_nan_label")
    with path.open() as file:
        written = Counter(row[-1].strip() for row in csv.reader(file))
    found, y = labels(read(path))
    assert found == {"unlabelled": written["NaN"], "benign": written["BENIGN"]}
    assert y == {None: written["NaN"], 0: written["BENIGN"]}


@needs_cases
@BOTH
@pytest.mark.parametrize("name", ["d05_v4_ampm", "d06_24h_night", "d16_dotted"])
def test_ten_past_midnight_stays_ten_past_midnight(read, name):
    times = read(case(name))["timestamp"]
    assert times.null_count == 0
    assert times[0].as_py() == datetime(2023, 3, 7, 0, 10)
    assert times[1].as_py() == datetime(2023, 3, 7, 0, 17, 8)


@needs_cases
@BOTH
def test_seconds_since_1970_are_read(read):
    times = read(case("d08_epoch"))["timestamp"]
    assert times[1].as_py() == datetime(2023, 3, 7, 0, 17, 8, 140703)
    assert times.null_count == 0


@needs_cases
@BOTH
def test_a_later_day_of_the_month_decides_for_the_whole_file(read, tmp_path):
    text = case("d07_us_dates").read_text()
    last = text.splitlines()[-1]
    (tmp_path / "us.csv").write_text(text + last.replace("03/07/2023", "03/13/2023") + "\n")
    times = read(tmp_path / "us.csv")["timestamp"]
    assert times[0].as_py() == datetime(2023, 3, 7, 0, 10)
    assert times[-1].as_py().date() == datetime(2023, 3, 13).date()


@needs_cases
def test_dates_that_may_be_read_both_ways_are_said_to_be():
    (chunk,) = CICIDS2017(case("d07_us_dates")).read()
    assert chunk.notes.meaning.times.ambiguous
    assert "'03/07/2023 00:10:00' may be read both ways" in chunk.notes.meaning.times.sentence()


@pytest.fixture
def timed(tmp_path, monkeypatch):
    """Writes a file with the times that are given, and has it read a few lines at a time."""
    monkeypatch.setattr(blocks, "MOST_LINES", 7)
    write(tmp_path / "made", 600, seed=1)
    head, *rows = next((tmp_path / "made").glob("Monday*")).read_text().splitlines()

    def written(*times: str) -> Path:
        path = tmp_path / "timed.csv"
        lines = (f"{time},{row}" for time, row in zip(times, rows, strict=False))
        path.write_text("\n".join([f" Timestamp,{head}", *lines]) + "\n")
        return path

    return written


@BOTH
@pytest.mark.parametrize("order", ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"])
def test_the_last_rows_decide_how_the_first_are_read(read, timed, order):
    moments = [datetime(2023, 7, 3) + timedelta(hours=6 * step) for step in range(45)]
    assert read(timed(*(moment.strftime(order) for moment in moments)))["timestamp"].to_pylist() == moments


@BOTH
def test_an_hour_past_noon_in_the_last_rows_keeps_the_first_in_the_morning(read, timed):
    hours = [*range(1, 11)] * 4
    early = [f"7/7/2017 {hour}:30" for hour in hours]
    afternoon = read(timed(*early))["timestamp"].to_pylist()
    assert [time.hour for time in afternoon] == [hour + 12 if hour < 8 else hour for hour in hours]
    times = read(timed(*early, "7/7/2017 14:30"))["timestamp"].to_pylist()
    assert [time.hour for time in times] == [*hours, 14]


def test_dates_in_both_orders_are_refused_in_training_and_left_out_in_scoring(timed):
    path = timed("03/13/2023 10:00", "13/03/2023 10:00", *["03/03/2023 10:00"] * 8)
    with pytest.raises(DataError, match=r"timed\.csv: column 'Timestamp': .*contradict.*set ingest\.time_format"):
        trained(path)
    assert scored(path)["timestamp"].null_count == 10
    named = trained(path, reading=Reading(times="%d/%m/%Y %H:%M"))["timestamp"]
    assert named.to_pylist()[:3] == [None, datetime(2023, 3, 13, 10), datetime(2023, 3, 3, 10)]


def test_dates_that_turn_round_in_later_rows_are_refused_by_ingest(timed, tmp_path):
    path = timed(*["03/13/2023 10:00"] * 10, *["13/03/2023 10:00"] * 10)
    tally = Tally()
    for chunk in CICIDS2017(path).read():
        tally.add(chunk, 0)
    with pytest.raises(DataError, match=r"timed\.csv: the time '13/03/2023 10:00' .*set ingest\.time_format"):
        tally.check(1.0, tmp_path)


def test_times_that_cannot_be_read_are_counted_and_cost_no_record(timed):
    path = timed("2023-07-03 10:00:00", "soon", "", "2023-07-03 10:00:01", "later")
    notes = [chunk.notes for chunk in CICIDS2017(path).read()]
    assert trained(path)["timestamp"].null_count == 3
    assert sum(note.unread_times for note in notes) == 2
    assert [cell for note in notes for cell in note.unread] == ["soon", "later"]


@needs_cases
@pytest.mark.parametrize("kind", ["benign.csv", "attack.csv"])
def test_milliseconds_are_found_stated_and_converted(kind):
    micro, milli = (CASES / folder / kind for folder in ("d60_microseconds", "d62_milliseconds"))
    (chunk,) = incoming(milli, "cicids2017", NEEDED).read()
    assert chunk.notes.meaning.units.sentence().startswith("Durations are in milliseconds")
    expected = scored(micro)
    for column in NEEDED:
        np.testing.assert_allclose(chunk.records[column.name], expected[column.name], rtol=1e-12)


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "extractor"),
    [
        ("cicids2017", Extractor("cicflowmeter_2017", "twice")),
        ("cicids2017_with_flow_ids", Extractor("cicflowmeter_2017", "twice")),
        ("cicids2017_improved", Extractor("cicflowmeter_corrected", "once")),
        ("other_extractors/DrDoS_NTP_data_data_5_per_sample.csv.gz", Extractor("cicflowmeter_v3", "twice")),
        ("other_extractors/adrin_batch_1_default.csv.gz", Extractor("cicflowmeter_v4", "twice")),
        ("other_extractors/adrin_batch_3_all.csv.gz", Extractor("cicflowmeter_v4", "twice")),
    ],
)
def test_real_files_say_who_wrote_them(folder, extractor):
    if not (REAL / folder).exists():
        pytest.skip(f"the real records are absent: {REAL / folder}")
    for path in (REAL / folder).iterdir() if (REAL / folder).is_dir() else [REAL / folder]:
        meaning = next(CICIDS2017(path, needed=()).read()).notes.meaning
        assert meaning.extractor == extractor
        assert (meaning.units.duration, meaning.units.gaps, meaning.units.agree) == ("us", "us", True)


@pytest.mark.real
def test_the_floods_of_a_later_capture_have_their_names():
    path = REAL / "other_extractors" / "DrDoS_NTP_data_data_5_per_sample.csv.gz"
    if not path.exists():
        pytest.skip(f"the real records are absent: {path}")
    records = trained(path)
    assert Counter(records["attack"].to_pylist()) == {"benign": 2669, "ddos_ntp": 484}
    assert set(records["family"].to_pylist()) == {"benign", "ddos"}


@needs_cases
def test_the_tool_in_python_may_write_seconds(tmp_path):
    with case("d04_python_cicflowmeter").open() as file:
        head, *rows = csv.reader(file)
    timed = [place for place, name in enumerate(head) if re.search("duration|_iat_|active_|idle_", name)]
    for row in rows:
        for place in timed:
            row[place] = repr(float(row[place]) / 1e6)
    (tmp_path / "seconds.csv").write_text("".join(",".join(row) + "\n" for row in [head, *rows]))
    (chunk,) = incoming(tmp_path / "seconds.csv", "cicids2017", ()).read()
    expected = scored_by(case("d04_python_cicflowmeter"), ())
    assert chunk.notes.meaning.units.sentence().startswith("Durations are in seconds")
    assert chunk.notes.meaning.extractor.tool == "cicflowmeter_python"
    for name in ("flow_duration", "flow_iat_mean", "idle_max", "flow_packets_per_s"):
        np.testing.assert_allclose(chunk.records[name], expected[name], rtol=1e-9, atol=1e-3)


@BOTH
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_times_and_labels_mean_the_same_in_files_of_other_types(read, timed, tmp_path, kind):
    path = timed(*["03/07/2023 00:10:00"] * 20, "03/13/2023 00:10:00")
    head, *rows = csv.reader(path.read_text().splitlines())
    columns = {name.strip(): list(cells) for name, cells in zip(head, zip(*rows, strict=True), strict=True)}
    columns["Fwd Header Length.1"] = columns["Fwd Header Length"]
    columns["Label"] = ["No Label", *["Normal"] * (len(rows) - 1)]
    columns = {
        name: cells if name in ("Timestamp", "Label") else [float(cell) for cell in cells]
        for name, cells in columns.items()
    }
    if kind == "parquet":
        pq.write_table(pa.table(columns), tmp_path / "typed.parquet")
    else:
        records = pd.DataFrame(columns).replace([np.inf, -np.inf], None)
        records.to_json(tmp_path / "typed.jsonl", orient="records", lines=True)
    found = read(tmp_path / f"typed.{kind}")
    assert found["timestamp"][0].as_py() == datetime(2023, 3, 7, 0, 10)
    assert found["timestamp"][-1].as_py() == datetime(2023, 3, 13, 0, 10)
    assert labels(found)[0] == {"unlabelled": 1, "benign": len(rows) - 1}
