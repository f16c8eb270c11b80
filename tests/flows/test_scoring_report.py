"""The page of a scoring run: files with labels have their recall and false alarms told, others have nothing there."""

from flows.reports.scoring import markdown
from pipeline.serving.intake import Result
from tests.settings import alerts_with

VERDICTS = {"benign": 90, "unknown": 5, "anomalous": 5}


def counts(records, p99, p95):
    return {"records": records, "alarms": {"p99": p99, "p95": p95}}


def summary(name, **labels):
    alarms = {level: {"alarms": 7, "expected": 1.0, "low": 0, "high": 3} for level in ("p99", "p95")}
    about = {"source": name, "records": 100, "rejected": 0, "verdicts": VERDICTS, "alarms": alarms}
    return {**about, **({"labels": labels} if labels else {})}


def page(*summaries):
    return markdown(Result.of(3, "0" * 64, summaries, alerts_with().sinks))


def test_labels_of_all_files_are_counted_together():
    first = summary("a", benign=counts(50, 1, 3), attacks=counts(4, 2, 3), by_attack={"bot": counts(4, 2, 3)})
    scan, bot = counts(5, 5, 5), counts(1, 0, 1)
    second = summary("b", benign=counts(0, 0, 0), attacks=counts(6, 5, 6), by_attack={"scan": scan, "bot": bot})
    shown = page(first, summary("c"), second)
    assert "| p99 | 7 of 10 (70.0 %) | 1 of 50 (2.0 %) |" in shown
    assert "| p95 | 9 of 10 (90.0 %) | 3 of 50 (6.0 %) |" in shown
    assert "| bot | 2 of 5 (40.0 %) |" in shown
    assert "| scan | 5 of 5 (100.0 %) |" in shown


def test_labels_may_name_no_attack():
    shown = page(summary("a", benign=counts(50, 1, 3), attacks=counts(0, 0, 0), by_attack={}))
    assert "| p99 | none there | 1 of 50 (2.0 %) |" in shown


def test_files_without_labels_have_no_such_table():
    assert "Labelled records" not in page(summary("a"), summary("b"))


def test_what_waits_for_a_sink_is_said_once():
    shown = page(summary("a"), {**summary("b"), "delivery": ["eve: 7 delivered", "webhook: 0 delivered, 7 wait"]})
    assert "## Delivery\n\n- eve: 7 delivered\n- webhook: 0 delivered, 7 wait" in shown
    assert "Delivery" not in page(summary("a"))
