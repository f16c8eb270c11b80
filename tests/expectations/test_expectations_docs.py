"""The page shows the verdicts and loads nothing."""

import json
import re
from pathlib import Path

import pytest

from pipeline.expectations import Limits, audit, build_docs

LOADS = re.compile(r"<\s*(script|link|img|iframe|object|embed)\b|\b(src|href|srcset)\s*=|url\(|@import", re.IGNORECASE)


@pytest.fixture
def findings(make, only):
    features = only("flow_duration", "flow_bytes_per_s")
    changed = {"flow_duration": {1: float("nan"), 2: -1.0}, "attack": {3: "<script>alert(1)</script>"}}
    return audit([make(20, features, **changed)], Limits(), features)


def test_the_page_loads_nothing_and_escapes_what_records_hold(findings, tmp_path):
    text = build_docs(findings, tmp_path / "docs", "records <b>of today</b>").read_text()
    assert LOADS.findall(text) == []
    assert "http" not in text
    assert "&lt;script&gt;alert" in text
    assert "<title>records &lt;b&gt;of today" in text


def test_the_page_shows_verdict_column_count_and_rows(findings, tmp_path):
    text = build_docs(findings, tmp_path, "records").read_text()
    assert "Stopped." in text
    for told in (
        "flow_duration",
        "is a finite number",
        "a.csv, row 2",
        "5.000%",
        "expect_column_values_to_not_be_null",
    ):
        assert told in text


def test_the_page_of_good_records_says_so(make, only, tmp_path):
    text = build_docs(audit([make(20, only())], Limits(), only()), tmp_path, "records").read_text()
    assert "Passed." in text
    assert "No record breaks any expectation" in text


def test_the_suite_is_kept_beside_the_page(findings, tmp_path):
    build_docs(findings, tmp_path, "records")
    kept = json.loads((tmp_path / "suite.json").read_text())
    assert len(kept["expectations"]) == len(findings.results)
    assert {"type", "kwargs", "severity", "meta"} <= kept["expectations"][0].keys()


def test_a_full_disk_leaves_the_old_page(findings, tmp_path, monkeypatch):
    page = build_docs(findings, tmp_path, "old")
    before = page.read_text()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        build_docs(findings, tmp_path, "new")
    assert page.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "suite.json"]
