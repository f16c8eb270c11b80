"""The one door to Great Expectations: records -> findings, and the page that shows them.

::

    identities.py      relations between features, as residuals
    suite.py           the expectations, kept as code
    frames.py          batches of records -> the frames that the rules are about
    runner.py          counts over batches, which Great Expectations judges
    rules.py           the rules that each record breaks, and the trust in it
    sample.py          a sample of the records of each class
    single_feature.py  how well one feature alone separates attacks from benign records
    shortcuts.py       the shortcut audit
    sentences.py       what the shortcut audit found, in sentences
    duplicates.py      the keys of all records, and what repeats
    ranges.py          observed values by feature
    meetings.py        how many records went between two hosts in each hour
    doubts.py          benign labels that the attacks of the same hosts put in doubt
    audit.py           all of it but the doubts, in one pass
    findings.py        what was found
    docs.py            the page
"""

from pipeline.settings.validate import Limits, ShortcutLimits
from pipeline.validation.audit import audit
from pipeline.validation.docs import data_docs
from pipeline.validation.doubts import Doubts
from pipeline.validation.findings import Duplicates, Example, Finding, Findings, Range
from pipeline.validation.rules import Trust
from pipeline.validation.sentences import shortcut_sentences
from pipeline.validation.shortcuts import Shortcuts
from pipeline.validation.suite import suite

__all__ = [
    "Doubts",
    "Duplicates",
    "Example",
    "Finding",
    "Findings",
    "Limits",
    "Range",
    "ShortcutLimits",
    "Shortcuts",
    "Trust",
    "audit",
    "data_docs",
    "shortcut_sentences",
    "suite",
]
