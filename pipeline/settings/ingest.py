"""Raw files -> records."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.settings.base import Section, Share, WithPlugins


@dataclass(frozen=True)
class Ingest(Section, WithPlugins):
    """Which records, and from where; the plug-ins are the readers of data sets.

    Attributes:
        labels: whether the records have labels. ``auto``: what the files have, but a column of labels must be there.
            ``full``: every record must have one. ``partial``: a record may have none. ``none``: labels are not read. A
            record without a label counts as benign while models are fitted.
    """

    section: ClassVar[str] = "ingest"
    dataset: str
    path: str
    labels: Literal["auto", "full", "partial", "none"]
    max_rejected_share: Share
