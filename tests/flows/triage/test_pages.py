"""The pages show what is there, whatever the records say of themselves, and follow new files."""

from html import unescape

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import made_alerts
from flows.triage import drawings, models, views
from flows.triage.filters import Filter
from flows.triage.grouping import SEVERITIES
from flows.triage.index import NO_TIME
from pipeline.artifacts import labels, paths
from pipeline.artifacts.labels import Label
from pipeline.artifacts.tables import TableWriter, read_table
from pipeline.base.errors import ConfigError
from pipeline.serving.alerts.schema import SCHEMA, Reason
from pipeline.serving.scored import table_path

EVIL = "<script>alert(1)</script>\"'&{{7*7}}\N{RIGHT-TO-LEFT OVERRIDE}"


def rewrite(change, key=None):
    """Change the rows of the stored alerts."""
    (path,) = [each for each in (paths.SCORED / "alerts").iterdir() if key is None or key in each.name]
    rows = read_table(path).to_pylist()
    for row in rows:
        change(row)
    with TableWriter(path, SCHEMA) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=SCHEMA))


def test_fields_of_records_are_words_and_never_markup(page, desk):
    def poison(row):
        row |= dict.fromkeys(("src_ip", "dst_ip", "kind", "family", "sensor", "source_file", "flow_id"), EVIL)
        row["reasons"] = [each | {"feature": EVIL, "text": EVIL, "usual": EVIL} for each in row["reasons"]]

    rewrite(poison)
    desk.refresh()
    labels.append(Label(int(desk.index.now.record_id[0]), "bot", EVIL, EVIL, EVIL))
    key, incident = desk.index.now.table.column("alert")[0].as_py(), desk.index.now.incidents[0].incident
    for path in ("/", f"/incident/{incident}", f"/alert/{key}", "/marks", "/model", f"/?kind={EVIL}", f"/alert/{EVIL}"):
        answer = page.get(path)
        assert "<script>" not in answer.text and "49" not in answer.text.split("alert(1)")[0][-40:]
        assert "&lt;script&gt;" in answer.text or "<script" not in unescape(answer.text).replace('<script src="', "")
    assert "&lt;script&gt;" in page.get(f"/alert/{key}").text


def test_the_queue_has_the_worst_first_and_counts_what_fits(page, desk):
    shown, said = desk.now()
    queue = views.queue(shown, said, Filter(state="all"))
    ranks = [SEVERITIES.index(line.incident.severity) for line in queue.lines]
    assert ranks == sorted(ranks)
    assert queue.alerts == shown.table.num_rows == sum(each.alerts for each in shown.incidents)
    weak = sum(each.severity == "low" for each in shown.incidents)
    n = len(shown.incidents)
    assert 0 < weak < n
    assert queue.states == {"open": n - weak, "weak": weak, "done": 0, "suppressed": 0, "all": n}


def test_what_a_rule_hides_is_counted_and_shown_apart(page, desk):
    paths.SUPPRESSIONS.write_text(
        '[[rule]]\nname = "scanner"\nhost = "172.16.0.23"\nuntil = 2099-01-01\nby = "ada"\nwhy = "our own"\n'
    )
    assert desk.index.refresh()
    assert "172.16.0.23" not in page.get("/").text
    text = page.get("/?state=suppressed").text
    assert "172.16.0.23" in text and "Suppressed <small>1</small>" in text


def rows_of(desk, **asked):
    shown = desk.index.now
    codes = np.zeros(len(shown.record_id), np.int8)
    return shown.table.filter(pa.array(Filter.of(asked).rows(shown, codes))).to_pylist()


def test_filters_choose_by_host_port_time_and_model(desk):
    every = desk.index.now.table.to_pylist()
    for asked, fits in [
        ({"host": "203.0.113.77"}, lambda row: row["src_ip"] == "203.0.113.77"),
        ({"host": "192.168.10.0/28"}, lambda row: any(row[end] in HOSTS for end in ("src_ip", "dst_ip"))),
        ({"host": "198.51."}, lambda row: row["src_ip"].startswith("198.51.")),
        ({"port": "22"}, lambda row: 22 in (row["src_port"], row["dst_port"])),
        ({"since": "2026-03-02T12:00"}, lambda row: row["time"].hour >= 12),
        ({"until": "2026-03-02T12:00:00+00:00"}, lambda row: row["time"].hour < 12),
        ({"model": "3", "verdict": "anomalous"}, lambda row: True),
        ({"model": "4"}, lambda row: False),
        ({"mark": "confirmed"}, lambda row: False),
    ]:
        assert rows_of(desk, **asked) == [row for row in every if fits(row)], asked


HOSTS = {f"192.168.10.{n}" for n in range(16)}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"port": "http"}, "port: a number, given 'http'"),
        ({"model": "-1"}, "model: a number"),
        ({"since": "monday"}, "since: a time such as"),
        ({"host": "10.0.0.0/99"}, "host: an address"),
        ({"verdict": "anomalus"}, "did you mean 'anomalous'"),
        ({"state": "closed"}, "state: one of open"),
        ({"kind": "x" * 201}, "at most 200 characters"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_with_what_is_allowed(page, asked, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Filter.of(asked)
    answer = page.get("/", params=asked)
    assert answer.status_code == 400
    assert sentence in unescape(answer.text)


def test_the_filter_goes_on_to_the_incident(page, desk):
    shown = desk.index.now
    incident = next(each for each in shown.incidents if each.kind == "new destinations")
    text = page.get("/", params={"kind": "new dest", "since": "2026-03-02T09:08"}).text
    assert f"/incident/{incident.incident}?since=2026-03-02T09%3A08&amp;kind=new+dest" in text
    whole = page.get(f"/incident/{incident.incident}").text
    part = page.get(f"/incident/{incident.incident}", params={"since": "2026-03-02T09:08"}).text
    assert "fit the filter" in part and "fit the filter" not in whole


def test_pages_are_cut_and_any_number_leads_to_one(page, desk):
    shown, said = desk.now()
    n = len(shown.incidents)
    pages = [views.queue(shown, said, Filter(state="all"), str(at)) for at in range(1, -(-n // views.PER_QUEUE) + 1)]
    assert [line.incident for each in pages for line in each.lines] == [*shown.incidents]
    for asked in ("0", "-1", "999999999", "x", "\N{SUPERSCRIPT TWO}"):
        assert page.get("/", params={"page": asked}).status_code == 200


def test_new_files_appear_and_a_file_that_is_gone_disappears(page, desk):
    before = desk.index.now.table.num_rows
    (key,) = made_alerts.write(50, seed=1, first=7)
    assert desk.index.refresh()
    assert desk.index.now.table.num_rows == before + 50
    assert not desk.index.refresh()
    table_path(key, "alerts").unlink()
    assert desk.index.refresh()
    assert desk.index.now.table.num_rows == before


def test_a_file_that_was_scored_half_and_then_whole_has_each_alert_once(desk):
    before = desk.index.now.table.num_rows
    (path,) = (paths.SCORED / "alerts").iterdir()
    path.with_name("half.parquet").write_bytes(path.read_bytes())
    desk.refresh()
    assert desk.index.now.table.num_rows == before


def test_a_table_that_is_damaged_is_said_and_the_rest_stays(page, desk):
    (path,) = (paths.SCORED / "alerts").iterdir()
    path.with_name("bad.parquet").write_bytes(b"PAR1 no")
    desk.refresh()
    assert "The newest alerts cannot be read" in page.get("/").text
    assert desk.index.now.table.num_rows == 400


def test_an_alert_shows_its_raw_record_beside_its_neighbours(page, desk):
    shown = desk.index.now
    rows = read_table(table_path(shown.files[0], "records"), ["record_id"]).column(0).to_pylist()
    number, benign, attack = rows[:3]
    own = shown.table.column("alert")[int(shown.rows_of_record(number)[0])].as_py()

    def near(row):
        if row["record_id"] == number:
            row |= {"similar_benign": benign, "similar_attack": attack, "similar_attack_name": "bot"}

    rewrite(near)
    desk.refresh()
    shown = desk.index.now
    text = page.get(f"/alert/{own}").text
    assert f"{benign:016x}" in text and f"{attack:016x}" in text and "most similar bot" in text
    detail = views.detail(shown, desk.marks.now(), shown.row_of[own])
    assert {each.name for each in detail.columns} >= {*made_alerts.FEATURES}
    assert all(len(each.values) == 3 for each in detail.columns)


def test_alerts_without_times_addresses_and_reasons_have_pages_too(page, desk):
    bare = ("time", "src_ip", "dst_ip", "src_port", "dst_port", "kind", "family", "driver", "reasons", "promise")
    rewrite(lambda row: row.update(dict.fromkeys(bare)))
    desk.refresh()
    (incident,) = desk.index.now.incidents[:1]
    assert "no times" in page.get(f"/incident/{incident.incident}").text
    key = desk.index.now.table.column("alert")[0].as_py()
    assert "without reasons" in page.get(f"/alert/{key}").text
    assert page.get("/?since=2026-01-01T00:00").status_code == 200


def test_an_empty_desk_says_what_to_expect(page, desk):
    for path in (paths.SCORED / "alerts").iterdir():
        path.unlink()
    desk.refresh()
    assert "Nothing is open" in page.get("/").text
    assert "Nobody has marked anything" in page.get("/marks").text


def test_both_models_that_raise_an_alert_on_a_record_are_shown(page, desk):
    (path,) = (paths.SCORED / "alerts").iterdir()
    again = read_table(path).slice(0, 1).to_pylist()
    again[0] |= {"alert": "f" * 32, "model_version": 4}
    with TableWriter(path.with_name("again.parquet"), SCHEMA) as writer:
        writer.write(pa.Table.from_pylist(again, schema=SCHEMA))
    desk.refresh()
    first = read_table(path).column("alert")[0].as_py()
    assert "version 4" in page.get(f"/alert/{first}").text
    assert "version 3" in page.get("/alert/" + "f" * 32).text


# Pictures.


def reason(value, low, high):
    return Reason("f", value, None, "", low, high, "", 0.5, "text")


@pytest.mark.parametrize(
    ("value", "low", "high"), [(43, 0, 3), (1e15, 0, 1), (-5, -2, -1), (0, 0, 0), (2, 1, 3), (-1e9, 5, 1e6)]
)
def test_a_reason_is_drawn_inside_its_scale_on_the_right_side_of_what_is_usual(value, low, high):
    (drawn,) = drawings.drawn([reason(float(value), float(low), float(high))])
    assert 0 <= drawn.value <= drawings.SCALE and 0 <= drawn.low <= drawn.low + drawn.width <= drawings.SCALE
    assert drawn.beyond == (not low <= value <= high)
    assert (drawn.value > drawn.low + drawn.width - 2) or value <= high
    assert drawn.value < drawn.low or value >= low


def test_a_word_or_a_missing_range_is_not_drawn():
    for each in (reason(None, 0.0, 1.0), reason(1.0, None, None), reason(float("nan"), 0.0, 1.0)):
        assert drawings.drawn([each])[0].low is None


@pytest.mark.parametrize("span", [0, 1, 59, 3600, 86_400 * 400])
def test_a_timeline_counts_every_alert_in_few_bars(span):
    times = np.append(np.random.default_rng(0).integers(0, span * 10**6 + 1, 500) + 10**15, [NO_TIME, NO_TIME])
    line = drawings.timeline(times)
    assert sum(bar.alerts for bar in line.bars) == 500
    assert line.untimed == 2
    assert len(line.bars) <= drawings.BARS + 2
    assert all(0 <= bar.x <= drawings.WIDTH and bar.height <= drawings.HEIGHT for bar in line.bars)


def test_no_times_make_no_timeline():
    assert drawings.timeline(np.full(3, NO_TIME)) is None


# The model.


def test_the_realised_share_of_alarms_stands_beside_the_promise(page, desk):
    (version,) = models.versions(desk.summaries.now(), *desk.now())
    assert (version.number, version.records, version.files) == (3, 180_000, 1)
    rate = next(each for each in version.rates if each.threshold == "p99")
    assert rate.alarms == 400 and rate.promised == 0.01 and rate.words == "fewer than promised"
    assert "fewer than promised" in page.get("/model").text


def test_the_card_is_laid_out_without_a_library_and_without_markup(page):
    models.CARD.parent.mkdir(parents=True)
    models.CARD.write_text(
        "# Model card\n\nOf **478** [records](x.md) `p99`.\n\n"
        "| a | b |\n| --- | --- |\n| <b>1</b> | 2 |\n\n- one\n- two\n"
    )
    kinds = [block.kind for block in models.card()]
    assert kinds == ["heading", "paragraph", "table", "list"]
    text = page.get("/model").text
    assert "Of 478 records p99." in text and "&lt;b&gt;1&lt;/b&gt;" in text and "<li>two</li>" in text


def test_a_fault_that_nobody_foresaw_is_said_and_the_page_goes_on(page, desk, monkeypatch, caplog):
    before = desk.index.now

    def fail():
        raise OverflowError("date value out of range")

    with monkeypatch.context() as broken:
        broken.setattr(desk.index, "refresh", fail)
        desk.refresh()
    assert desk.index.now is before
    assert "OverflowError: date value out of range" in page.get("/").text
    assert "alerts cannot be read" in caplog.text
    desk.refresh()
    assert "cannot be read" not in page.get("/").text
