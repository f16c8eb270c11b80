"""What becomes of a file whose records are not of the kind that a model was fitted on."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.settings.base import CountOrZero, Section, Shape, Share

Action = Literal["warn", "refuse"]


@dataclass(frozen=True)
class ContractRules(Shape):
    """When a file breaks the contract of a model, and what then; see ``pipeline.serving.contract``.

    Attributes:
        action: ``warn``: the file is scored, and its summary says what is broken. ``refuse``: it goes into quarantine.
        outside: share of the records that may have a value below the lowest or above the highest that the model has
            seen.
        undefined: share of the values of a column that may be missing, beyond the share that were.
        unknown_words: share of the records that may have a word that the model has not seen.
    """

    action: Action
    outside: Share
    undefined: Share
    unknown_words: Share


@dataclass(frozen=True)
class Scoring(Section):
    """How new records are scored.

    Attributes:
        output: address in an object store, such as ``s3://bucket/scored``, that the tables of scored files are uploaded
            to; "": they stay in data/scored alone.
        csv_records: the verdicts on a file with at most so many records are written as CSV as well.
    """

    section: ClassVar[str] = "scoring"
    contract: ContractRules
    output: str
    csv_records: CountOrZero
