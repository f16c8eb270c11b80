"""Data Docs on one page that needs nothing but itself.

Great Expectations' own site loads styles, scripts and a tracking pixel from the network, and it knows no totals over
batches. This page shows the same verdicts from ``Findings``, with the classes, the duplicates and the observed ranges.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.reporting.html import page
from pipeline.validation.findings import Findings, Range
from pipeline.validation.sentences import shortcut_sentences
from pipeline.validation.suite import DAYS

MOST_WORDS: Final = 12  # that the page lists of one feature
BAR: Final = 220  # width in pixels


def data_docs(findings: Findings, title: str) -> dict[str, str]:
    """The texts of two files by their names: ``index.html``, and ``suite.json``, which Great Expectations can read.

    Args:
        findings: of ``audit``.
        title: of the page, say the data set; it should say where the records are synthetic.
    """
    return {"index.html": render(findings, title), "suite.json": json.dumps(findings.suite, indent=1)}


def render(findings: Findings, title: str) -> str:
    """The page."""
    broken = [finding for finding in findings.results if finding.unexpected]
    days = findings.counts(by=2)
    return page(
        Path(__file__).with_name("docs.html"),
        title=title,
        findings=findings,
        broken=sorted(broken, key=lambda finding: (finding.passed, not finding.hard, -finding.share)),
        files=findings.counts(by=1),
        days=days,
        week=[day for day in (*DAYS, *sorted(set(days) - set(DAYS))) if day in days],
        shortcuts=findings.shortcuts,
        sentences=shortcut_sentences(findings.shortcuts),
        ranges=findings.ranges,
        places=_places(findings.ranges),
        bar=BAR,
        most=MOST_WORDS,
        count=lambda number: f"{number:,}" if number else "",
        whole="{:,}".format,
        number=_number,
    )


def _places(ranges: Mapping[str, Range]) -> dict[str, dict[str, float]]:
    """Feature -> where its extremes and percentiles lie on an axis of ``BAR`` pixels, which all features share.

    The axis is logarithmic in both directions. A feature without a finite value has no place on it.
    """
    values = {
        name: {key: getattr(seen, key) for key in ("low", "p01", "p50", "p99", "high")}
        for name, seen in ranges.items()
        if None not in (seen.low, seen.p01)
    }
    logs = {name: {key: _log(value) for key, value in seen.items()} for name, seen in values.items()}
    first = min((seen["low"] for seen in logs.values()), default=0.0)
    last = max((seen["high"] for seen in logs.values()), default=1.0)
    scale = BAR / max(last - first, 1e-9)
    return {name: {key: round((log - first) * scale, 1) for key, log in seen.items()} for name, seen in logs.items()}


def _log(value: float) -> float:
    return math.copysign(math.log10(1.0 + abs(value)), value)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
