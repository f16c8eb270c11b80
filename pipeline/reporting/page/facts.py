"""What the page says: values that were read from files, and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, ClassVar

from pipeline.reporting.page.cited import Document


@dataclass(frozen=True)
class Facts:
    """All that the page is made of.

    Attributes:
        metrics: ``metrics.json``.
        source: ``source.json`` of ingest.
        threshold: the one at which the result is stated, a name in ``metrics.json``.
        splits: ``splits.json`` of preprocess; None where it is absent.
        audit: ``summary.json`` of validate; None where it is absent.
        shortcuts: ``shortcuts.json`` of validate; None where it is absent.
        figures: name -> SVG.
        explanations: rows of ``explanations.csv``, in its order.
        models: name -> content of its JSON file.
        versions: software -> version.
        hashes: file -> sha256 in hexadecimal digits.
    """

    SECTIONS: ClassVar = ("unseen", "seen")
    FEW: ClassVar = 5  # records; a recall over fewer says next to nothing
    MOST_ALERTS: ClassVar = 10
    MOST_FEATURES: ClassVar = 4  # of an alert

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
    def attacked(self) -> list[str]:
        """The sections with attacks."""
        return [name for name in self.SECTIONS if self.metrics(name, "n_attack")]

    @property
    def shown(self) -> str:
        """The section whose result comes first: ``unseen``, or ``seen`` where there are no unseen attacks."""
        return "unseen" if "unseen" in self.attacked else "seen"

    @property
    def level(self) -> Document:
        """Promised and realised false alarms at the threshold."""
        return self.metrics.at("guarantee", "levels", self.threshold)

    @property
    def fprs(self) -> list[str]:
        """The false positive rates, as keys, at which the recall of the ranking is stated."""
        return self.metrics.names("unseen", "recall_at_fpr")

    @property
    def prevalence(self) -> str | None:
        """The middle one of the shares of attacks, as a key, for which the precision of the shown section is known."""
        precision = self.level.at("precision_at_prevalence", self.shown)
        known = [prevalence for prevalence in precision.names() if precision(prevalence) is not None]
        return known[len(known) // 2] if known else None

    @property
    def parts(self) -> list[tuple[str, tuple[str, ...], str]]:
        """Title, keys and threshold of the whole detector, and of each score alone, at each of its thresholds."""
        alone = [name for name in self.metrics.names("unseen") if name.endswith("_only")]
        keys = {"this detector": ()} | {f"{name.removesuffix('_only')} alone": (name,) for name in alone}
        return [
            (title, part, threshold)
            for title, part in keys.items()
            for threshold in self.metrics.names("unseen", *part, "thresholds")
        ]

    @property
    def all_attacks(self) -> list[tuple[str, str]]:
        """Section and name of each attack, those found least first."""
        return [(name, attack) for name in self.SECTIONS for attack in self.attacks(name)]

    @property
    def all_thresholds(self) -> list[tuple[str, str]]:
        """Each section with attacks, and each of its thresholds."""
        return [(name, threshold) for name in self.attacked for threshold in self.metrics.names(name, "thresholds")]

    @property
    def few(self) -> list[str]:
        """The attacks with too few test records for a rate."""
        return [attack for name, attack in self.all_attacks if self.is_few(name, attack)]

    @property
    def enough(self) -> list[str]:
        """The attacks of the shown section with records enough for a rate, those found least first."""
        return [attack for attack in self.attacks(self.shown) if not self.is_few(self.shown, attack)]

    @property
    def missed(self) -> list[str]:
        """Those of them of which the detector finds less than half."""
        recalls = self.metrics.at(self.shown, "recall_by_attack")
        return [attack for attack in self.enough if recalls(attack, self.threshold, "recall") < 0.5]

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The rows of the strongest alerts, some for each; ``first`` marks where an alert begins."""
        alerts = groupby(self.explanations, key=lambda row: (row["record_id"], row["attack"]))
        few = (list(islice(rows, self.MOST_FEATURES)) for _, rows in islice(alerts, self.MOST_ALERTS))
        return [{**row, "first": place == 0} for rows in few for place, row in enumerate(rows)]

    def at_threshold(self, section: str) -> Document:
        """The rates of a section at the threshold."""
        return self.metrics.at(section, "thresholds", self.threshold)

    def attacks(self, section: str) -> list[str]:
        """The attacks of a section, those found least at the threshold first."""
        recalls = self.metrics(section, "recall_by_attack") or {}
        return sorted(recalls, key=lambda name: (recalls[name][self.threshold]["recall"] or 0.0, name))

    def is_few(self, section: str, attack: str) -> bool:
        """Whether an attack has too few test records for a rate."""
        return int(self.metrics(section, "recall_by_attack", attack, "n")) < self.FEW
