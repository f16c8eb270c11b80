"""The records that judge two models: what the test splits hold, without what either model was fitted on."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import column_names, read_table, row_groups, strings, with_slices
from pipeline.base.errors import ArtifactError, ConfigError, SchemaError, near_miss
from pipeline.calibration.decisions import all_without_context
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.schema import NO_ATTACK
from pipeline.datasets.units import FLOWS
from pipeline.evaluation import drills
from pipeline.evaluation.promotion_gate import Heldout, Judged
from pipeline.serving import stored_past
from pipeline.serving.bundle import Bundle
from pipeline.serving.planted import planted
from pipeline.settings.evaluate import Drills

TESTS = ("test_seen", "test_unseen")
Ids = NDArray[np.uint64]


@dataclass(frozen=True)
class Selection:
    """Which records of the project are held out.

    Attributes:
        record_id: (n,) in the order of the records table.
        heldout: what they are.
        left_out: records of the test splits that a model was fitted on.
        not_unseen: names of attacks of the unseen split whose labels a model has seen; they count as seen.
        drills: raw columns of altered benign records, which stand behind the others; None where there are none.
    """

    record_id: Ids
    heldout: Heldout
    left_out: int
    not_unseen: tuple[str, ...]
    drills: pa.Table | None = None

    @property
    def digest(self) -> str:
        """A hash of which records these are."""
        return hashlib.sha256(self.record_id.tobytes()).hexdigest()[:32]

    @property
    def counts(self) -> dict[str, int]:
        """How many records of each kind there are."""
        drills = 0 if self.drills is None else self.drills.num_rows
        attacks, unseen = int((self.heldout.y == 1).sum()), int(self.heldout.unseen.sum())
        return {
            "benign": self.heldout.y.size - attacks,
            "attacks": attacks - drills,
            "unseen_attacks": unseen - drills,
            **({} if self.drills is None else {"drills": drills}),
            "left_out": self.left_out,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be known of them to read a decision."""
        names = ", ".join(self.not_unseen)
        seen = (f"counted as seen, because a model was trained on their names: {names}",) if names else ()
        n = 0 if self.drills is None else self.drills.num_rows
        drilled = f"no unseen attack is held out, so {n:,} altered benign records (drills) stand for them"
        return (*seen, drilled) if n else seen


def select(bundles: Sequence[Bundle]) -> Selection:
    """The records that none of the bundles has used.

    An attack is unseen where it stands in the unseen test split and no record that a bundle has used bears its name.

    Raises:
        ArtifactError: the records or the test splits are absent, or do not belong together.
    """
    used = np.unique(np.concatenate([bundle.used for bundle in bundles]))
    ids, y, unseen = _tests()
    kept = ~_among(ids, used)
    places, families, attacks, told = _identities(ids[kept], used)
    found = np.flatnonzero(kept)[places]
    names = attacks.astype(str)
    tests_unseen = unseen[found] & (y[found] == 1)
    heldout = Heldout(y[found], families, tests_unseen & ~np.isin(names, sorted(told)))
    not_unseen = tuple(sorted(told & set(names[tests_unseen].tolist())))
    return Selection(ids[found], heldout, int((~kept).sum()), not_unseen)


def with_drills(selection: Selection, bundles: Sequence[Bundle], settings: Drills) -> Selection:
    """The selection with drills as its unseen attacks, where the project has none; see ``pipeline.evaluation.drills``.

    Without them nothing could tell a model that works from one that is silent. They do not stand for attacks that are
    left out because a model was fitted on them.

    Raises:
        ArtifactError: the records are absent, or do not belong together.
    """
    benign = selection.record_id[selection.heldout.y == 0]
    _, y, unseen = _tests()
    if (unseen & (y == 1)).any() or not settings.records or len(benign) < 2:
        return selection
    columns = list({column.name: column for bundle in bundles for column in bundle.columns}.values())
    made, kind = planted(columns, benign, settings)
    ones = np.ones(len(kind), np.int8)
    family = np.array([f"{drills.PREFIX}{name}" for name in kind], dtype=object)
    given = selection.heldout
    heldout = Heldout(
        np.concatenate([given.y, ones]),
        np.concatenate([given.family, family]),
        np.concatenate([given.unseen, ones == 1]),
        drilled=True,
    )
    return replace(selection, heldout=heldout, drills=made)


def require_same_kind(candidate: Bundle, champion: Bundle) -> None:
    """Refuse to compare two models that read records of different kinds.

    Raises:
        SchemaError: a Zeek log is no CICFlowMeter table, say.
    """
    names = [bundle.dataset.partition(" ")[0] for bundle in (champion, candidate)]
    if len({kind(name) for name in names}) > 1:
        raise SchemaError(
            f"the champion reads {names[0]} records, this candidate {names[1]} ones, and no record can judge both: "
            "give the candidate a name of its own, tracking.model, and train it again"
        )


def kind(dataset: str) -> str:
    """What records a data set has: two of one kind may be judged by the same model."""
    return "flows" if dataset in FLOWS else dataset


def check(bundle: Bundle, threshold: str) -> None:
    """Refuse a bundle that cannot judge the records of the project, before anything is scored.

    Raises:
        SchemaError: the records lack a column that it reads.
        ConfigError: it has no such threshold.
    """
    try:
        bundle.require(column_names(paths.RECORDS))
    except SchemaError as error:
        raise SchemaError(f"{error}; the model of another network needs a name of its own, tracking.model") from error
    known = bundle.calibration.thresholds
    if threshold not in known:
        miss = near_miss(threshold, known)
        raise ConfigError(f"promotion.threshold: {threshold!r} is not known{miss}; known: {', '.join(known)}")


def predict(selection: Selection, bundles: Sequence[Bundle], threshold: str) -> list[Judged]:
    """What each bundle says of the selected records; one row group of raw records is in memory at a time.

    Records have the contexts that preprocess stored. Drills have none: they are single records, which no host sent.

    Args:
        selection: the records.
        bundles: the models.
        threshold: the named threshold whose alarms decide.
    """
    read = {column.name for bundle in bundles for column in bundle.columns}
    groups = {group for bundle in bundles if (group := bundle.calibration.group) is not None}
    columns = sorted({"record_id"} | read | groups & {*column_names(paths.RECORDS)})
    wanted = np.sort(selection.record_id)
    contexts = [stored_past.scores(bundle, selection.record_id) for bundle in bundles]
    parts: list[list[Prediction]] = [[] for _ in bundles]
    for table, rows in with_slices(_rows(wanted, columns)):
        for bundle, part, context in zip(bundles, parts, contexts, strict=True):
            part.append(bundle.predict(table, None if context is None else context[rows]))
    if selection.drills is not None:
        for bundle, part in zip(bundles, parts, strict=True):
            part.append(bundle.predict(selection.drills))
    benign = selection.heldout.y == 0
    return [_judged(bundle, part, threshold, benign) for bundle, part in zip(bundles, parts, strict=True)]


def _judged(bundle: Bundle, parts: Sequence[Prediction], threshold: str, benign: NDArray[np.bool_]) -> Judged:
    calibration = bundle.calibration
    score, deciding = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ranked", "group"))
    alarms = {name: np.concatenate([part.flagged[name] for part in parts]) for name in calibration.thresholds}
    side, _ = calibration.most(deciding[benign])
    without = 0 if bundle.looks_back is None else int(all_without_context(deciding).sum())
    size = calibration.sides[side].whole.reference.size
    return Judged(score, alarms.pop(threshold), size, alarms, without)


def without_context(models: Mapping[str, Judged]) -> tuple[str, ...]:
    """Of each model, by what it is called, how many held-out records it judges without a context that it could read."""
    return tuple(
        f"{name} judges {judged.without_context:,} of {judged.alarm.size:,} held-out records without a context, as "
        "none is known of them"
        for name, judged in models.items()
        if judged.without_context
    )


def _tests() -> tuple[Ids, NDArray[np.int8], NDArray[np.bool_]]:
    """(n,) ids of the test splits in ascending order, their labels, and whether they stand in the unseen one."""
    tables = [read_table(paths.PROCESSED / f"{split}.parquet", ["record_id", "y"]) for split in TESTS]
    ids, y = (np.concatenate([table.column(name).to_numpy() for table in tables]) for name in ("record_id", "y"))
    unseen = np.repeat([False, True], [table.num_rows for table in tables])
    order = np.argsort(ids)
    return ids[order], y[order], unseen[order]


def _identities(wanted: Ids, used: Ids) -> tuple[NDArray[np.intp], NDArray[np.object_], NDArray[np.object_], set[str]]:
    """Of each wanted record, in the order of the table: its place among them, its family and attack.

    And the names of the attacks among the used records. One that was only attempted is left out: settings may have
    called it benign. So is one that an analyst has confirmed: a few records do not make an attack a seen one.
    """
    places, families, attacks, told = [], [], [], set()
    for table in row_groups(paths.RECORDS, ["record_id", "source_file", "attack", "family", "attempted"]):
        ids = table.column("record_id").to_numpy()
        rows = _among(ids, wanted)
        attack, family = (strings(table.column(name)) for name in ("attack", "family"))
        done = ~table.column("attempted").fill_null(False).to_numpy()
        done &= strings(table.column("source_file")) != paths.LABELS.as_posix()
        told |= set(attack[_among(ids, used) & done].tolist()) - {*NO_ATTACK}
        places.append(np.searchsorted(wanted, ids[rows]))
        families.append(family[rows])
        attacks.append(attack[rows])
    if sum(part.size for part in places) != wanted.size:
        raise ArtifactError(
            f"{paths.RECORDS}: does not hold the {wanted.size:,} records of {paths.PROCESSED}, which were made "
            "of other ones; run `dvc repro` to make both again"
        )
    return np.concatenate(places), np.concatenate(families), np.concatenate(attacks), told


def _rows(wanted: Ids, columns: Sequence[str]) -> Iterator[pa.Table]:
    for table in row_groups(paths.RECORDS, columns):
        rows = _among(table.column("record_id").to_numpy(), wanted)
        if rows.any():
            yield table.filter(pa.array(rows))


def _among(ids: Ids, ascending: Ids) -> NDArray[np.bool_]:
    """(n,) mask of the ids that are among others, which ascend."""
    if not ascending.size:
        return np.zeros(ids.size, dtype=bool)
    at = np.minimum(np.searchsorted(ascending, ids), ascending.size - 1)
    mask: NDArray[np.bool_] = ascending[at] == ids
    return mask
