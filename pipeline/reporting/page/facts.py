"""What the page tells: values that were read from files, and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.reporting.page.cited import Document

SECTIONS = ("unseen", "seen")


@dataclass(frozen=True)
class Facts:
    """All that the page is made of.

    Attributes:
        metrics: ``metrics.json``.
        source: ``source.json`` of ingest.
        threshold: the one of the headline result, a name in ``metrics.json``.
        splits: ``splits.json`` of preprocess; None where it is absent.
        audit: ``summary.json`` of validate; None where it is absent.
        shortcuts: ``shortcuts.json`` of validate; None where it is absent.
        figures: name -> SVG.
        explanations: rows of ``explanations.csv``, in its order.
        models: name -> what its JSON file says.
        versions: software -> version.
        hashes: file -> sha256 in hexadecimal digits.
    """

    metrics: Document
    source: Document
    threshold: str
    splits: Document | None = None
    audit: Document | None = None
    shortcuts: Document | None = None
    figures: Mapping[str, bytes] = field(default_factory=dict)
    explanations: Sequence[Mapping[str, str]] = ()
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether the records are simulated."""
        return bool(self.source("synthetic"))

    @property
    def is_cicids2017(self) -> bool:
        """Whether the records are those that the published figures were measured on, or a part of them."""
        return str(self.source("dataset")).split(" ", maxsplit=1)[0] == "cicids2017"

    @property
    def shown(self) -> str:
        """The section of the headline result: ``unseen``, or ``seen`` where there are no unseen attacks."""
        return "unseen" if self.metrics("unseen", "n_attack") else "seen"

    @property
    def level(self) -> Document:
        """Promised and realised false alarms at the threshold."""
        return self.metrics.at("guarantee", "levels", self.threshold)

    def at_threshold(self, section: str) -> Document:
        """The rates of a section at the threshold."""
        return self.metrics.at(section, "thresholds", self.threshold)

    def attacks(self, section: str) -> list[str]:
        """The attacks of a section, those most seldom found at the threshold first."""
        recalls = self.metrics(section, "recall_by_attack") or {}
        return sorted(recalls, key=lambda name: (recalls[name][self.threshold]["recall"] or 0.0, name))

    def is_few(self, section: str, attack: str, few: int) -> bool:
        """Whether an attack has less than ``few`` test records."""
        return int(self.metrics(section, "recall_by_attack", attack, "n")) < few
