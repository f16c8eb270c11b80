"""Raw files -> records."""

from dataclasses import dataclass
from typing import ClassVar

from pipeline.settings.base import Section, Share, WithPlugins


@dataclass(frozen=True)
class Ingest(Section, WithPlugins):
    """Which records, and from where; the plug-ins are the readers of data sets."""

    section: ClassVar[str] = "ingest"
    dataset: str
    path: str
    max_rejected_share: Share
