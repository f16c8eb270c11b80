"""The one door to Great Expectations: records -> findings, and the page that shows them.

::

    limits.py       the budgets
    identities.py   relations between features, as residuals
    suite.py        the expectations, kept as code
    frames.py       batches of records -> the frames that the suite judges
    judge.py        Great Expectations over batch after batch
    duplicates.py   the keys of all records, and what repeats
    ranges.py       observed values by feature
    audit.py        all of it in one pass
    findings.py     what was found
    docs.py         the page
"""

from pipeline.expectations.audit import audit
from pipeline.expectations.docs import data_docs
from pipeline.expectations.findings import Duplicates, Example, Finding, Findings, Range
from pipeline.expectations.limits import Limits
from pipeline.expectations.suite import suite

__all__ = ["Duplicates", "Example", "Finding", "Findings", "Limits", "Range", "audit", "data_docs", "suite"]
