"""Data Docs on one page that needs nothing but itself: no script, no font, no picture from elsewhere.

Great Expectations' own site loads styles, scripts and a tracking pixel from the network, and knows no totals over
batches; this page shows the same verdicts from ``Findings``, with the classes, duplicates and observed ranges beside.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from pipeline.validation.findings import Finding, Findings, Range
from pipeline.validation.sentences import meanings
from pipeline.validation.suite import DAYS

MOST_WORDS = 12  # that the page lists of one feature
STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6b7c; --line: #dde3ea; --page: #f6f8fa; --card: #fff;
  --good: #1a7f4b; --warn: #a86400; --bad: #b42318; --blue: #2f6fb3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf2; --soft: #98a6b8; --line: #2b3644; --page: #11161d;
  --card: #19212b; --good: #4cc38a; --warn: #e0a23c; --bad: #f2766b; --blue: #6ea8e5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 80px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 40px 0 10px; } p { margin: 4px 0 12px; }
.soft, small { color: var(--soft); }
.banner { border-left: 6px solid var(--tone); background: var(--card); padding: 14px 18px; margin: 18px 0; }
.banner b { color: var(--tone); }
.good { --tone: var(--good); } .warn { --tone: var(--warn); } .bad { --tone: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.card b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { padding: 6px 12px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } tr:last-child td { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.badge { color: var(--tone); border: 1px solid var(--tone); border-radius: 99px; padding: 0 9px; font-size: 12px;
  white-space: nowrap; }
code { font: 12.5px ui-monospace, monospace; } td > code { white-space: nowrap; }
small { overflow-wrap: anywhere; } td details { margin: 0; } td summary { padding: 0; color: var(--soft); }
details { margin: 8px 0; } summary { cursor: pointer; padding: 4px 0; } summary b { margin-right: 6px; }
svg { display: block; } .line { stroke: var(--soft); } .box { fill: var(--blue); } .mid { stroke: var(--card); }
"""


def data_docs(findings: Findings, title: str) -> dict[str, str]:
    """The texts of two files by their names: ``index.html``, and ``suite.json``, which Great Expectations can read.

    Args:
        findings: of ``audit``.
        title: of the page, say the data set; it should tell where the records are synthetic.
    """
    return {"index.html": render(findings, title), "suite.json": json.dumps(findings.suite, indent=1)}


def render(findings: Findings, title: str) -> str:
    """The page."""
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">Great Expectations suite over {findings.rows:,} records</p>',
        _banner(findings),
        _cards(findings),
        *_broken(findings),
        *_classes(findings),
        *_shortcuts(findings),
        *_ranges(findings.ranges),
        *_words(findings.words),
        *_all(findings.results),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = "\n".join(sections)
    style = f"<style>{STYLE}</style>"
    return f'<!doctype html><html lang="en"><head>{head}{style}</head><body><main>{body}</main></body></html>'


def _banner(findings: Findings) -> str:
    hard, soft = len(findings.breaches), len(findings.warnings)
    if hard:
        return f'<div class="banner bad"><b>Stopped.</b> {hard} hard and {soft} soft expectations are breached.</div>'
    if soft:
        return f'<div class="banner warn"><b>Passed with warnings.</b> {soft} soft expectations are breached.</div>'
    return '<div class="banner good"><b>Passed.</b> Every expectation holds within its budget.</div>'


def _cards(findings: Findings) -> str:
    copies = findings.duplicates
    cards = {
        "records": findings.rows,
        "expectations": len(findings.results),
        "without any exception": sum(not finding.unexpected for finding in findings.results),
        "within their budget": sum(finding.passed and finding.unexpected > 0 for finding in findings.results),
        "exact repeats": copies.repeated,
        "in groups across files": copies.across_files,
        "in groups with both labels": copies.disagreeing_labels,
    }
    shown = "".join(f"<div class=card><b>{number:,}</b>{name}</div>" for name, number in cards.items())
    return f'<div class="cards">{shown}</div>'


def _broken(findings: Findings) -> Iterable[str]:
    broken = [finding for finding in findings.results if finding.unexpected]
    yield "<h2>Exceptions</h2>"
    if not broken:
        yield "<p>No record breaks any expectation.</p>"
        return
    yield '<p class="soft">Breached expectations first. A hard one stops the line; a soft one is reported.</p>'
    broken.sort(key=lambda finding: (finding.passed, not finding.hard, -finding.share))
    header = ("", "column", "expected", "broken by", "share", "allowed", "for example")
    yield _table(header, map(_exception, broken), (3, 4, 5))


def _exception(finding: Finding) -> list[str]:
    expected = f"{escape(finding.text)}<br><small>{escape(finding.expectation)}</small>"
    counts = [f"{finding.unexpected:,}", f"{finding.share:.3%}", f"{finding.allowed:.3%}"]
    subject = "<br>".join(_code(name) for name in finding.subject.split(", "))
    return [_badge(finding), subject, expected, *counts, _examples(finding)]


def _examples(finding: Finding) -> str:
    rows = [f"{_code(str(e.value))} {escape(e.source_file)}, row {e.row:,}" for e in finding.examples]
    shown = "<br>".join(rows) or escape(finding.detail)
    state = "" if finding.passed else " open"
    title = f"first {len(rows)} rows" if len(rows) > 1 else "the row" if rows else "what"
    return f"<details{state}><summary>{title}</summary><small>{shown}</small></details>"


def _badge(finding: Finding) -> str:
    tone, text = ("good", "holds") if finding.passed else ("bad" if finding.hard else "warn", _severity(finding))
    return f'<span class="badge {tone}">{text}</span>'


def _severity(finding: Finding) -> str:
    return "hard" if finding.hard else "soft"


def _classes(findings: Findings) -> Iterable[str]:
    days, repeats = findings.counts(by=2), findings.duplicates.by_attack
    week = [day for day in (*DAYS, *sorted(set(days) - set(DAYS))) if day in days]
    rows = [
        [_code(name), *(_count(days[day].get(name, 0)) for day in week), _count(number), _count(repeats.get(name, 0))]
        for name, number in findings.attacks.items()
    ]
    yield "<h2>Classes by capture day</h2>"
    yield _table(("attack", *week, "records", "exact repeats"), rows, range(1, len(week) + 3))
    files = [
        [escape(file), ", ".join(f"{escape(attack)} {number:,}" for attack, number in counts.items())]
        for file, counts in findings.counts(by=1).items()
    ]
    yield f"<details><summary><b>By source file</b></summary>{_table(('file', 'records'), files)}</details>"


def _shortcuts(findings: Findings) -> Iterable[str]:
    found = findings.shortcuts
    yield "<h2>Shortcuts</h2>"
    yield f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in meanings(found).values())}</ul>"
    if not found.attacks:
        return
    others = f"without {', '.join(found.known_here)}" if found.known_here else "without known shortcuts"
    header = ("attack", "records", "strongest feature", "AUROC", others, "AUROC", "capture days")
    yield _table((*map(escape, header), "attempted", "other class too"), map(_told, found.table()), (1, 3, 5, 7, 8))
    yield (
        '<p class="soft">AUROC of one feature against the benign records, 0.5 is chance: the probability that an '
        "attack has a larger value than a benign record, or a smaller one, whichever serves; of words and ports, that "
        f"its value is more often an attack's. On at most {found.limits.rows:,} records of each class.</p>"
    )


def _told(row: Mapping[str, Any]) -> list[str]:
    pairs = ((row["feature"], row["auroc"]), (row["feature_without_known"], row["auroc_without_known"]))
    told = [text for name, auroc in pairs for text in ((_code(name), f"{auroc:.4f}") if name else ("too few", ""))]
    days = ", ".join(map(escape, row["days"]))
    attempted = "" if row["attempted"] is None else f"{row['attempted']:,}"
    return [_code(row["attack"]), _count(row["records"]), *told, days, attempted, _count(row["disagreeing"])]


def _ranges(ranges: Mapping[str, Range]) -> Iterable[str]:
    if not ranges:
        return
    yield "<h2>Observed values</h2>"
    yield (
        '<p class="soft">Line: smallest to largest; bar: 1st to 99th percentile; notch: median; signed logarithmic '
        "axis from the smallest to the largest value of all features.</p>"
    )
    ends = [_log(end) for seen in ranges.values() for end in (seen.low, seen.high) if end is not None]
    span = (min(ends), max(ends)) if ends else (0.0, 1.0)
    rows = [
        [
            _code(name),
            _bar(seen, span),
            *map(_number, (seen.low, seen.p01, seen.p50, seen.p99, seen.high)),
            _count(seen.nulls),
            _count(seen.infinite),
        ]
        for name, seen in ranges.items()
    ]
    header = ("feature", "", "min", "1 %", "median", "99 %", "max", "null", "infinite")
    yield _table(header, rows, range(2, 9))


def _words(words: Mapping[str, Mapping[str, int]]) -> Iterable[str]:
    if not words:
        return
    rows = [
        [
            _code(name),
            f"{sum(map(bool, counts)):,}",
            ", ".join(f"{_code(word)} {number:,}" for word, number in list(counts.items())[:MOST_WORDS] if word),
            _count(counts.get("", 0)),
        ]
        for name, counts in words.items()
    ]
    yield "<h2>Observed words</h2>"
    yield _table(("feature", "words", f"the {MOST_WORDS} most frequent", "null"), rows, (1, 3))


def _log(value: float) -> float:
    return float(np.sign(value) * np.log10(1.0 + abs(value)))


def _bar(seen: Range, span: tuple[float, float], width: int = 220) -> str:
    if seen.low is None or seen.high is None or seen.p01 is None or seen.p50 is None or seen.p99 is None:
        return ""
    scale = width / max(span[1] - span[0], 1e-9)
    low, first, middle, last, high = (
        round((_log(value) - span[0]) * scale, 1) for value in (seen.low, seen.p01, seen.p50, seen.p99, seen.high)
    )
    return (
        f'<svg width="{width + 2}" height="14" role="img" aria-label="range">'
        f'<line class="line" x1="{low}" x2="{high + 1}" y1="7" y2="7"/>'
        f'<rect class="box" x="{first}" y="2" width="{max(last - first, 1.5):.1f}" height="10" rx="2"/>'
        f'<line class="mid" x1="{middle}" x2="{middle}" y1="2" y2="12" stroke-width="2"/></svg>'
    )


def _all(results: Sequence[Finding]) -> Iterable[str]:
    yield "<h2>All expectations</h2>"
    for kind in dict.fromkeys(finding.kind for finding in results):
        group = [finding for finding in results if finding.kind == kind]
        rows = [
            [_badge(f), _code(f.subject), escape(f.text), _severity(f), f"{f.unexpected:,}", f"{f.allowed:.3%}"]
            for f in group
        ]
        held = sum(finding.passed for finding in group)
        table = _table(("", "column", "expected", "severity", "broken by", "allowed"), rows, (4, 5))
        yield f"<details><summary><b>{kind}</b>{held} of {len(group)} hold</summary>{table}</details>"


def _table(header: Iterable[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    right = set(numbers)

    def line(tag: str, cells: Iterable[str]) -> str:
        marked = (f"<{tag}{' class=number' if i in right else ''}>{cell}</{tag}>" for i, cell in enumerate(cells))
        return f"<tr>{''.join(marked)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table>{line("th", header)}{body}</table></div>'


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
