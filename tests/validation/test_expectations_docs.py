"""The page shows the verdicts and loads nothing."""

import json
import re

import pytest

from pipeline.validation import audit, data_docs
from tests.settings import limits_with

LOADS = re.compile(r"<\s*(script|link|img|iframe|object|embed)\b|\b(src|href|srcset)\s*=|url\(|@import", re.IGNORECASE)


@pytest.fixture
def findings(make, only):
    features = only("flow_duration", "flow_bytes_per_s")
    changed = {"flow_duration": {1: float("nan"), 2: -1.0}, "attack": {3: "<script>alert(1)</script>"}}
    return audit([make(20, features, **changed)], limits_with(), features)


def test_the_page_loads_nothing_and_escapes_what_records_hold(findings):
    text = data_docs(findings, "records <b>of today</b>")["index.html"]
    assert LOADS.findall(text) == []
    assert "http" not in text
    assert "&lt;script&gt;alert" in text
    assert "<title>records &lt;b&gt;of today" in text


def test_the_page_shows_verdict_column_count_and_rows(findings):
    text = data_docs(findings, "records")["index.html"]
    assert "Stopped." in text
    for told in (
        "flow_duration",
        "is a finite number",
        "a.csv, row 2",
        "5.000%",
        "expect_column_values_to_not_be_null",
    ):
        assert told in text


def test_the_page_of_good_records_says_so(make, only):
    text = data_docs(audit([make(20, only())], limits_with(), only()), "records")["index.html"]
    assert "Passed." in text
    assert "No record breaks any expectation" in text


def test_the_suite_is_kept_beside_the_page(findings):
    kept = json.loads(data_docs(findings, "records")["suite.json"])
    assert len(kept["expectations"]) == len(findings.results)
    assert {"type", "kwargs", "severity", "meta"} <= kept["expectations"][0].keys()
