"""The one door to Great Expectations: records -> findings, and the page that shows them.

::

    identities.py      relations between features, as residuals
    suite.py           the expectations, kept as code
    frames.py          batches of records -> the frames that the suite judges
    runner.py          Great Expectations over batch after batch
    rules.py           the rules that each record breaks, and the trust in it
    sample.py          a sample of the records of each class
    single_feature.py  how well one feature alone finds attacks
    shortcuts.py       the shortcut audit
    sentences.py       what that means, in sentences
    duplicates.py      the keys of all records, and what repeats
    ranges.py          observed values by feature
    audit.py           all of it in one pass
    findings.py        what was found
    docs.py            the page
"""

from pipeline.settings.validate import Limits, ShortcutLimits
from pipeline.validation.audit import audit
from pipeline.validation.docs import data_docs
from pipeline.validation.findings import Duplicates, Example, Finding, Findings, Range
from pipeline.validation.rules import Trust
from pipeline.validation.sentences import meanings
from pipeline.validation.shortcuts import Shortcuts
from pipeline.validation.suite import suite

__all__ = [
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
    "meanings",
    "suite",
]
