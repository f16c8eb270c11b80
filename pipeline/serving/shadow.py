"""A shadow run: the models that the gate compares also score the records that arrived last, and nobody is alarmed.

What is read are the samples that scoring keeps of each file, ``data/scored/samples``: up to 2,000 records of each,
drawn at random, the file that came last first. One sample is in memory at a time, and nothing is written. A sample has
no past of its own, so a model that reads contexts judges by those that were kept of its records. Where none was kept
that it could read, it judges without, and the run says so.

Not used are files that a version at hand has in quarantine, files that another tool wrote, and records that a version
cannot read. A record that a version was fitted on is no evidence, and a file that holds one is left out whole: what was
left of it, such as the records that looked anomalous to a recalibration, is no fair sample. Records that are left out
count as looked at, so that the run never searches old traffic for what recent traffic does not have.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import config
from pipeline.base.errors import DataError
from pipeline.calibration.decisions import Promise, is_without_context
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.thresholds.conformal import Guarantee
from pipeline.evaluation import alarm_share
from pipeline.evaluation.alarm_share import Alarms
from pipeline.evaluation.promotion_gate import Decision
from pipeline.evaluation.shadow import Comparison, refusal
from pipeline.serving import kept_past, quarantine, scored
from pipeline.serving.bundle import Bundle
from pipeline.serving.counts import counted
from pipeline.serving.differences import Differences
from pipeline.serving.scored import Sampled
from pipeline.settings.alerts import Alerts
from pipeline.settings.promotion import Rules

USED = "in files of which a model has used records"
HELD = "in quarantine"
FOREIGN = "written by another tool"
UNREADABLE = "without what a model reads"


@dataclass(frozen=True)
class Shadow:
    """What a shadow run found.

    Attributes:
        records: how many records judge.
        files: how many files they came in.
        left_out: why records do not judge -> how many.
        alarms: of both models; None where no record judges.
        differences: where the two differ.
        refusal: why the candidate may not serve; "" where nothing speaks against it.
        sentence: what was found.
    """

    records: int
    files: int
    left_out: Mapping[str, int]
    alarms: Comparison | None
    differences: Differences
    refusal: str
    sentence: str

    def reasons(self, decision: Decision) -> tuple[str, ...]:
        """Those of the decision on held-out records, and this one; alone where it is the only one that refuses."""
        return (self.sentence,) if decision.passed and self.refusal else (*decision.reasons, self.sentence)

    def metrics(self) -> dict[str, float]:
        """Shares of alarms, as far as there are any, by name."""
        found = {"shadow.records": float(self.records)}
        if self.alarms is None:
            return found
        found["shadow.candidate_alarm_share"] = self.alarms.candidate.share
        if self.alarms.champion:
            found["shadow.champion_alarm_share"] = self.alarms.champion.share
            found["shadow.excess"] = self.alarms.excess
        return found

    def figures(self) -> dict[str, Any]:
        """All but the records on which the models differ, as JSON has it."""
        names = ("records", "files", "left_out", "refusal", "sentence")
        alarms = asdict(self.alarms) if self.alarms else None
        return {**{name: getattr(self, name) for name in names}, "alarms": alarms}


def run(judged: Mapping[int, Bundle], rules: Rules, factor: float) -> Shadow:
    """Score the records that arrived last with each model.

    Args:
        judged: number of a version -> its model: the candidate, then the champion, if there is one.
        rules: of the gate.
        factor: how many times as many alarms as promised speak against a first model.

    Raises:
        ArtifactError: a sample cannot be read.
        ConfigError: params.yaml does not say how addresses are shown.
    """
    seen = _Seen(differences=Differences(addresses=config.load(Alerts).sinks.addresses))
    if rules.shadow.records:
        serving = [*judged][1:]
        for file in scored.last_samples(serving[0] if serving else None):
            _look(file, judged, rules, seen)
            if seen.looked_at >= rules.shadow.records:
                break
    found = _compared(seen, [*judged.values()], rules) if seen.records else None
    enough = found is not None and seen.records >= rules.shadow.min_records
    refused = refusal(found, rules, factor) if found and enough else ""
    sentence = refused or (str(found) if enough else _undecided(seen, rules))
    sentence += _without_context(seen, [*judged.values()])
    return Shadow(seen.records, seen.files, dict(seen.left_out), found, seen.differences, refused, sentence)


@dataclass
class _Seen:
    """What was counted so far."""

    ids: set[int] = field(default_factory=set)
    records: int = 0
    files: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    alarms: Counter[int] = field(default_factory=Counter)  # by the place of the model
    only: Counter[int] = field(default_factory=Counter)
    decided: dict[int, Counter[str]] = field(default_factory=dict)  # of each model: name of a decision -> records
    differences: Differences = field(default_factory=Differences)

    @property
    def looked_at(self) -> int:
        return self.records + self.left_out.total()


def _look(file: Sampled, judged: Mapping[int, Bundle], rules: Rules, seen: _Seen) -> None:
    """Score the records of a file that no file before it had, as far as they may judge."""
    records = _new(file.records, seen.ids).slice(0, rules.shadow.records - seen.looked_at)
    if not records.num_rows:
        return
    seen.ids |= {*records.column("record_id").to_pylist()}
    records = records.sort_by("row") if "row" in records.column_names else records
    reason = _unfit(file, judged)
    predictions = [] if reason else _predicted(file, records, [*judged.values()])
    if not predictions:
        seen.left_out[reason or UNREADABLE] += records.num_rows
        return
    seen.records, seen.files = seen.records + records.num_rows, seen.files + 1
    flags = [each.flagged[rules.threshold] for each in predictions]
    for place, (flag, each) in enumerate(zip(flags, predictions, strict=True)):
        seen.alarms[place] += int(flag.sum())
        seen.decided.setdefault(place, Counter()).update(each.decided)
    if len(flags) > 1:
        for place in (0, 1):
            seen.only[place] += int((flags[place] & ~flags[1 - place]).sum())
        seen.differences.add(file.source, records, predictions[0], predictions[1], rules.threshold)


def _new(records: pa.Table, known: set[int]) -> pa.Table:
    """The records that are not known; a file that grew is scored again, and brings those that it had."""
    if not known:
        return records
    old = pc.is_in(records.column("record_id"), pa.array(known, pa.uint64()))
    return records.filter(pc.invert(old))


def _unfit(file: Sampled, judged: Mapping[int, Bundle]) -> str:
    """Why a file may not judge; "" where it may."""
    if any(quarantine.known(file.sha256, number) for number in judged):
        return HELD
    if file.is_foreign:
        return FOREIGN
    ids = file.records.column("record_id").to_numpy()
    if any(np.isin(ids, bundle.used).any() for bundle in judged.values()):
        return USED
    first, *others = judged.values()
    return "" if all(each.extraction == first.extraction for each in others) else UNREADABLE


def _predicted(file: Sampled, records: pa.Table, bundles: Sequence[Bundle]) -> list[Prediction]:
    """What each model says, by the contexts that were kept; nothing where one of them cannot read the records."""
    try:
        return [bundle.predict(records, kept_past.scores(bundle, records, file.past)) for bundle in bundles]
    except DataError:
        return []


def _compared(seen: _Seen, bundles: Sequence[Bundle], rules: Rules) -> Comparison:
    alarms = [_alarms(seen.alarms[place], seen.decided[place], bundle, rules) for place, bundle in enumerate(bundles)]
    return Comparison(alarms[0], alarms[1] if len(alarms) > 1 else None, seen.only[0], seen.only[1])


def _alarms(alarms: int, decided: Mapping[str, int], bundle: Bundle, rules: Rules) -> Alarms:
    """Beside the rate that was asked for, or the smallest one that the calibration of each decision supports."""
    parts = []
    for name, records in decided.items():
        n = bundle.calibration.decisions[name].reference.size
        parts.append(Promise(records, max(rules.asked, Guarantee().smallest_risk(n)), n))
    return alarm_share.beside(rules.threshold, alarms, parts)


def _without_context(seen: _Seen, bundles: Sequence[Bundle]) -> str:
    """How many records models judged without a context that they could read, as none was kept; "" for none."""
    told = []
    for place, bundle in enumerate(bundles):
        decided = seen.decided.get(place, Counter())
        bare = sum(n for name, n in decided.items() if is_without_context(name))
        if bundle.looks_back is not None and bare:
            told.append(f"{('the candidate', 'the champion')[place]} judged {bare:,} without a context")
    return f"; {' and '.join(told)}, as none was kept of them" if told else ""


def _undecided(seen: _Seen, rules: Rules) -> str:
    if not rules.shadow.records:
        return "live traffic was not looked at, because promotion.shadow.records is 0"
    left = "; ".join(f"{n:,} are left out: they are {why}" for why, n in seen.left_out.items())
    told = f"live traffic decides nothing: {counted(seen.records, 'record')} that arrived last can judge"
    return f"{told}, needed are {rules.shadow.min_records:,}{'; ' + left if left else ''}"
