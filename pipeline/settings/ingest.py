"""Raw files -> records."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pipeline.settings.base import Bounds, Names, Section, Share, WithPlugins


@dataclass(frozen=True)
class Ingest(Section, WithPlugins):
    """Which records, and from where; the plug-ins are the readers of data sets.

    Attributes:
        path: a file, folder or zip of them, or a list of such; unused by synthetic.
        labels: whether the records have labels. ``auto``: what the files have, but a column of labels must be there.
            ``full``: every record must have one. ``partial``: a record may have none. ``none``: labels are not read. A
            record without a label counts as benign, where models are fitted, where thresholds are set, and in tests.
        time_format: of timestamps, as strptime takes it; auto: found from the whole column.
        time_zone: that times without an offset are in; all times are stored in it.
        unlabelled: words in the label column that mean "not labelled", beside the usual ones.
    """

    section: ClassVar[str] = "ingest"
    dataset: str
    path: str | Annotated[Names, Bounds(min_length=1)]
    labels: Literal["auto", "full", "partial", "none"]
    max_rejected_share: Share
    time_format: str
    time_zone: str
    unlabelled: Names
