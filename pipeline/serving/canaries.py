"""Canaries: a few records that a model decided on when it was made, and is asked about again wherever it scores.

::

    canaries.json           names of the attacks and levels, and the words of the columns that hold words
    canaries.safetensors    record_id (m,); each column as in ``benign``; the other arrays below

They are seen attacks of val that raised a clear alarm, up to 20 of all attacks together, and benign records of
calibration that raised clearly none, up to 5. Those with the smallest ids come first: ids are hashes, so that this is a
random sample, and always the same one. No test record is among them. ``canary_check`` says what is asked of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.contexts import read_contexts
from pipeline.artifacts.models import decode_model, encode_model
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.schema import Column
from pipeline.serving import benign
from pipeline.serving.benign import ID

if TYPE_CHECKING:
    from pipeline.serving.bundle import Bundle

NAME: Final = "canaries"
FILES: Final = (f"{NAME}.json", f"{NAME}.safetensors")
ATTACKS: Final = 20  # canaries that are attacks
BENIGN: Final = 5  # and benign ones
CANDIDATES: Final = 20  # records of each attack among which canaries are looked for
CLEAR: Final = 0.02  # of a fused score: a threshold that is nearer makes an alarm unclear
DIGITS: Final = 4  # of a stored score: the last bits of a score differ from machine to machine
ATTACK, LEVEL, IS_CLEAR, SCORES, PAST = (f":{name}" for name in ("attack", "level", "clear", "scores", "context"))


@dataclass(frozen=True)
class Canaries:
    """m records, and what the model said of them.

    Attributes:
        records: their ids, and the raw columns that the model reads.
        attack: (m,) what each is; "" for a benign one.
        past: (m, C) the recent past of the hosts, NaN where there is none; None where there are no contexts.
        level: (m,) the strictest threshold that each exceeded; "" for none.
        is_clear: (m,) whether no threshold was near.
        scores: name of a score -> (m,).
    """

    records: pa.Table
    attack: NDArray[np.object_]
    past: NDArray[np.float32] | None = None
    level: NDArray[np.object_] = field(default_factory=lambda: np.zeros(0, object))
    is_clear: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def is_attack(self) -> NDArray[np.bool_]:
        """(m,)."""
        return np.asarray(self.attack != "", bool)

    @property
    def must_alarm(self) -> NDArray[np.bool_]:
        """(m,) which ones must raise an alarm."""
        return np.asarray(self.is_attack & self.is_clear & (self.level != ""), bool)

    def take(self, rows: NDArray[np.intp]) -> "Canaries":
        """Some of them, in their order."""
        scores = {name: values[rows] for name, values in self.scores.items()}
        past = None if self.past is None else self.past[rows]
        told = (self.attack[rows], past, self.level[rows], self.is_clear[rows], scores)
        return Canaries(self.records.take(pa.array(rows)), *told)

    @property
    def about(self) -> dict[str, Any]:
        """How many there are of each attack, how many benign ones, and how many attacks must raise an alarm."""
        names = Counter(str(name) for name in self.attack[self.is_attack])
        return {
            "attacks": dict(sorted(names.items())),
            "benign": int((~self.is_attack).sum()),
            "must_alarm": int(self.must_alarm.sum()),
        }


def predicted(bundle: "Bundle", canaries: Canaries) -> Prediction:
    """What a model says of them now, by the way that every record goes.

    Raises:
        DataError: a score is NaN.
    """
    past = bundle.looks_back
    context = None if past is None or canaries.past is None else past.scores(canaries.past)
    return bundle.predict(canaries.records, context)


def decided(bundle: "Bundle", canaries: Canaries) -> Canaries:
    """The same records with what the model says of them now."""
    found = predicted(bundle, canaries)
    scores = {name: np.array([_rounded(each) for each in values]) for name, values in found.scores.items()}
    return replace(canaries, level=found.level, is_clear=_clear(bundle, found), scores=scores)


def _rounded(score: float) -> float:
    return float(f"{score:.{DIGITS}g}")


def _clear(bundle: "Bundle", found: Prediction) -> NDArray[np.bool_]:
    """(m,) whether no threshold of the decision on a record is near its score."""
    decisions = bundle.calibration.decisions
    near = CLEAR * np.maximum(np.abs(found.score), 1.0)
    edges = [[*decisions[name].thresholds.values()] for name in found.group.tolist()]
    nearest = [min(abs(score - edge) for edge in each) for score, each in zip(found.score, edges, strict=True)]
    return np.array(nearest) > near


def of_project(bundle: "Bundle", data: Path) -> Canaries | None:
    """Those of a model that was just trained; None where nothing fits.

    Raises:
        ArtifactError: a stage has not run, or its outputs do not fit those of another one.
    """
    given = _candidates(data, bundle.columns)
    if given is None:
        return None
    found = decided(bundle, given)
    rows = np.concatenate([_loud(bundle, found), _quiet(found)])
    return found.take(np.sort(rows)) if rows.size else None


def _loud(bundle: "Bundle", found: Canaries) -> NDArray[np.intp]:
    """Rows of clear alarms: of each attack the first one, then the second, those of the strictest threshold first."""
    strict = {name: place for place, name in enumerate(sorted(bundle.calibration.thresholds, key=_share))}
    rows = np.flatnonzero(found.must_alarm)
    order = sorted(rows.tolist(), key=lambda row: (strict[str(found.level[row])], row))
    places: Counter[str] = Counter()
    ranked = []
    for row in order:
        name = str(found.attack[row])
        ranked.append((places[name], name, row))
        places[name] += 1
    return np.array([row for _, _, row in sorted(ranked)[:ATTACKS]], np.intp)


def _share(threshold: str) -> float:
    return -float(threshold.removeprefix("p"))


def _quiet(found: Canaries) -> NDArray[np.intp]:
    return np.flatnonzero(~found.is_attack & found.is_clear & (found.level == ""))[:BENIGN]


def _candidates(data: Path, columns: Sequence[Column]) -> Canaries | None:
    """Records among which canaries are looked for, in the order of their ids."""
    room = data / paths.PROCESSED.relative_to(paths.DATA)
    seen, names = _attacks(room / "val.parquet")
    calm = read_table(room / "calibration.parquet", [ID, "y"])
    usual = np.sort(calm.column(ID).to_numpy()[calm.column("y").to_numpy() == 0])[: 4 * BENIGN]
    if not seen.size + usual.size:
        return None
    ids = np.concatenate([seen, usual])
    attack = np.concatenate([names, np.full(usual.size, "", object)])[np.argsort(ids)]
    records = data / paths.RECORDS.relative_to(paths.DATA)
    words, arrays = benign.parts_of(records, np.sort(ids), columns)
    table = benign.table_of(records, {"words": words}, arrays, columns)
    return Canaries(table, attack, _pasts(room, np.sort(ids)))


def _attacks(val: Path) -> tuple[NDArray[np.uint64], NDArray[np.object_]]:
    """(k,) ids of a few records of each seen attack, and its name."""
    table = read_table(val, [ID, "y", "attack"])
    is_attack = table.column("y").to_numpy() == 1
    ids = table.column(ID).to_numpy()[is_attack]
    names = np.array(table.column("attack").cast(pa.string()).to_pylist(), object)[is_attack]
    order = np.argsort(ids)
    few = [order[names[order] == name][:CANDIDATES] for name in sorted({*names.tolist()})]
    rows = np.concatenate([np.zeros(0, np.intp), *few])
    return ids[rows], names[rows]


def _pasts(room: Path, ids: NDArray[np.uint64]) -> NDArray[np.float32] | None:
    """(m, C) contexts of records of val and calibration by their ids, (m,), ascending."""
    parts = [each for split in ("val", "calibration") if (each := read_contexts(room, split, ids)) is not None]
    if not parts:
        return None
    known = np.concatenate([each.record_id for each in parts])
    x = np.concatenate([each.x for each in parts])
    found = np.full((ids.size, x.shape[1]), np.nan, np.float32)
    found[np.searchsorted(ids, known)] = x
    return found


# As files.


def encoded(canaries: Canaries, columns: Sequence[Column]) -> dict[str, bytes]:
    """The two files."""
    words, arrays = benign.parts_of_table(canaries.records, columns)
    names, places = np.unique(canaries.attack.astype(str), return_inverse=True)
    levels, strict = np.unique(canaries.level.astype(str), return_inverse=True)
    about = {"attacks": names.tolist(), "levels": levels.tolist(), "scores": [*canaries.scores], "words": words}
    arrays |= {ATTACK: places.astype(np.int32), LEVEL: strict.astype(np.int32)}
    arrays |= {IS_CLEAR: canaries.is_clear, SCORES: np.stack([*canaries.scores.values()], axis=1)}
    arrays |= {} if canaries.past is None else {PAST: canaries.past}
    return dict(zip(FILES, encode_model(about, arrays), strict=True))


def decoded(folder: Path, files: Mapping[str, bytes], columns: Sequence[Column]) -> Canaries | None:
    """The canaries of a bundle whose files these are; None where it has none.

    Raises:
        ArtifactError: the two files do not fit each other, or the columns.
    """
    if not {*FILES} <= {*files}:
        return None
    about, arrays = decode_model(folder / NAME, *(files[name] for name in FILES))
    records = benign.table_of(folder / NAME, about, arrays, columns)
    try:
        attack = np.array(about["attacks"], dtype=object)[arrays[ATTACK]]
        level = np.array(about["levels"], dtype=object)[arrays[LEVEL]]
        scores = dict(zip(about["scores"], arrays[SCORES].T, strict=True))
        return Canaries(records, attack, arrays.get(PAST), level, arrays[IS_CLEAR], scores)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / NAME}: does not say what the model found ({error!r})") from error
