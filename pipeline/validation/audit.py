"""Checks all records in one pass, in bounded memory."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.schema import ATTACKS, FEATURES, NO_ATTACK, Column
from pipeline.datasets.trust import trust
from pipeline.settings.validate import Limits, ShortcutLimits
from pipeline.validation import frames
from pipeline.validation.duplicates import Keys
from pipeline.validation.findings import ClassKey, Duplicates, Example, Findings
from pipeline.validation.identities import identities, residuals
from pipeline.validation.ranges import Ranges
from pipeline.validation.rules import Rules, Trust
from pipeline.validation.runner import Counts
from pipeline.validation.sample import ClassSample, Sample
from pipeline.validation.sentences import details
from pipeline.validation.shortcuts import AttackCount, Shortcuts
from pipeline.validation.single_feature import feature_aurocs
from pipeline.validation.suite import Suite, suite

ROWS = 65_536  # per batch: 40 MB at 78 features
UNKNOWN = "unknown"
Attacks = Mapping[str, tuple[str, tuple[str, ...]]]


def audit(
    batches: Iterable[pa.Table | pa.RecordBatch],
    limits: Limits,
    columns: Sequence[Column] = FEATURES,
    attacks: Attacks = ATTACKS,
    rows: int = ROWS,
) -> Findings:
    """Check records by the suite.

    Args:
        batches: tables of ``record_schema(columns)``, of any size; the findings do not depend on how rows are cut.
        limits: shares of the records that may break a rule.
        columns: the features that the records have.
        attacks: the label vocabulary.
        rows: how many rows are held at a time.

    Returns:
        The findings. Where the schema is not the canonical one, they are about the schema alone.
    """
    rules = suite(limits, columns, attacks)
    stream = _Stream(rules, columns, attacks, limits.shortcuts)
    for table in frames.chunks(stream.fitting(batches), rows):
        stream.add(table)
    return stream.findings(rules)


class _Stream:
    def __init__(self, rules: Suite, columns: Sequence[Column], attacks: Attacks, shortcuts: ShortcutLimits) -> None:
        self.columns, self.attacks, self.limits = columns, attacks, shortcuts
        self.identities = identities(columns)
        self.counts = Counts(rules)
        self.keys = Keys()
        self.rules = Rules(len(columns))
        self.ranges = Ranges(tuple(column.name for column in columns if not column.categorical))
        self.words = {column.name: Counter[str]() for column in columns if column.categorical}
        self.classes: Counter[ClassKey] = Counter()
        self.sample = ClassSample(columns, shortcuts.rows)
        self.attempted: Counter[tuple[str, bool]] = Counter()
        self.rows = 0
        self.broken = False

    def fitting(self, batches: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[pa.Table | pa.RecordBatch]:
        """The batches up to the first one whose schema is not the canonical one."""
        checked = False
        for batch in batches:
            self.broken = not frames.fits(batch.schema, self.columns)
            if self.broken or not checked:
                self._check_schema(batch.schema)
                checked = True
            if self.broken:
                return
            yield batch

    def add(self, table: pa.Table) -> None:
        labels, values = frames.labels(table, self.attacks), frames.features(table, self.columns)
        words = frames.words(table, self.columns)
        look = partial(frames.example, table)
        frames_by_scope = {
            "labels": labels,
            "features": frames.checked(values, words, self.columns),
            "identities": pd.DataFrame(residuals(values, self.identities), copy=False),
        }
        broken = [rule for scope, frame in frames_by_scope.items() for rule in self.counts.add(scope, frame, look)]
        self.rules.add(trust(table, self.columns), broken)
        self.keys.add(labels, frames.content(values, words))
        self.ranges.add(values, labels["record_id"].fillna(0).to_numpy("uint64"))
        for name, column in words.items():
            numbers = column.value_counts()
            self.words[name].update({str(word): int(number) for word, number in numbers.items() if number})
            self.words[name][""] += len(column) - int(numbers.sum())
        counts = labels.groupby(["attack", "source_file", "day"], observed=True, dropna=False).size().reset_index()
        for attack, file, day, number in counts.astype(object).fillna(UNKNOWN).itertuples(index=False):
            self.classes[str(attack), str(file), str(day)] += int(number)
        self.sample.add(labels, values, words)
        for truth in (True, False):
            rows = pc.equal(table.column("attempted"), truth).fill_null(False).to_numpy()
            for attack, number in labels["attack"][rows].value_counts().to_dict().items():
                self.attempted[str(attack), truth] += number
        self.rows += len(table)

    def findings(self, rules: Suite) -> Findings:
        duplicates, known = (Duplicates(), Trust()) if self.broken else self._check_stream()
        sample = self.sample.result()
        shortcuts = Shortcuts(limits=self.limits) if self.broken else self._check_shortcuts(duplicates, sample)
        return Findings(
            rows=self.rows,
            results=self.counts.findings(),
            ranges=self.ranges.result(),
            words={name: dict((+counts).most_common()) for name, counts in self.words.items()},
            duplicates=duplicates,
            classes=dict(sorted(self.classes.items())),
            shortcuts=shortcuts,
            trust=known,
            sample=sample,
            suite=rules.to_json_dict(),
        )

    def _check_schema(self, schema: pa.Schema) -> None:
        differences = frames.differences(schema, self.columns)
        self.counts.add("columns", pd.DataFrame(columns=schema.names), detail="; ".join(differences[:10]))
        kinds = frames.types(schema, self.columns)
        wrong = kinds[kinds["type"] != kinds["declared"]]
        texts = [f"{column!r} is {kind}, not {declared}" for column, kind, declared in wrong.itertuples(index=False)]
        self.counts.add("types", kinds, detail="; ".join(texts[:10]))

    def _check_shortcuts(self, duplicates: Duplicates, sample: Sample) -> Shortcuts:
        days: dict[str, Counter[str]] = {}
        for (attack, _, day), number in self.classes.items():
            days.setdefault(attack, Counter())[day] += number
        found = Shortcuts(
            features=feature_aurocs(sample, self.columns),
            attacks=self._attack_counts(days, duplicates.disagreeing_by_attack),
            limits=self.limits,
            both_labels=duplicates.disagreeing_labels,
            several_days=len({day for counts in days.values() for day in counts} - {UNKNOWN}) > 1,
        )
        texts = details(found)
        for scope, frame in found.frames().items():
            if len(frame):
                self.counts.add(scope, frame, detail=texts[scope])
        return found

    def _attack_counts(
        self, days: Mapping[str, Counter[str]], disagreeing: Mapping[str, int]
    ) -> dict[str, AttackCount]:
        return {
            attack: AttackCount(
                records=days[attack].total(),
                days={day: number for day, number in sorted(days[attack].items()) if day != UNKNOWN},
                attempted=self._attempted(attack),
                disagreeing=disagreeing.get(attack, 0),
            )
            for attack in sorted(days, key=lambda attack: (-days[attack].total(), attack))
            if attack not in {*NO_ATTACK, UNKNOWN}
        }

    def _attempted(self, attack: str) -> int | None:
        known = {truth: self.attempted[attack, truth] for truth in (True, False)}
        return known[True] if any(known.values()) else None

    def _check_stream(self) -> tuple[Duplicates, Trust]:
        keys = self.keys.frame()
        present = set(keys["y"].unique())
        absent = [f"no record with y = {y} ({name})" for y, name in enumerate(("benign",)) if y not in present]

        def look(columns: Sequence[str], position: int) -> Example:
            return self.keys.example(keys, columns[0], position)

        self.counts.add("classes", keys, detail="; ".join(absent))
        broken = self.counts.add("stream", keys, look)
        known = self.rules.result(keys["record_id"].to_numpy(), keys["contradicts"].to_numpy(), broken)
        return self.keys.audit(keys), known
