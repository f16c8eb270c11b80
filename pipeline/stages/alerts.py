"""Which records are explained, and by what: the strongest alerts of each kind, false alarms among them."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline import artifacts
from pipeline.bundle import ROWS_AT_ONCE, Bundle
from pipeline.explanation import Explanation, Native, Scoring, explain
from pipeline.inference import Judgement
from pipeline.nn import in_batches, with_features

MOST_OF_A_KIND: Final = 3


def explained(splits: Mapping[str, Judgement], threshold: str) -> list[dict[str, Any]]:
    """Rows of ``explanations.csv``: a feature each, of up to ``MOST_OF_A_KIND`` alerts of each attack in each split.

    ``stage`` is the evidence with the largest share in the score; ``share`` that share. ``reference`` is the value that
    benign records have which look like the alert, ``contribution`` how far the fused score falls with it.

    Args:
        splits: name of a test split -> its judgement, in the order of its rows.
        threshold: above which a record is an alert.
    """
    bundle = Bundle.of_project()
    train = artifacts.read_samples(artifacts.PROCESSED, "train")
    benign = train.select(train.benign)
    scoring, native = _scoring(bundle), _native(bundle)
    rows: list[dict[str, Any]] = []
    for split, judged in splits.items():
        samples = artifacts.read_samples(artifacts.PROCESSED, split)
        flagged = bundle.calibration.exceeds(threshold, *judged.evidence.values())
        chosen = _strongest(samples.attack, judged.score, flagged)
        alerts = samples.select(chosen)
        for name, each in zip(alerts.attack.tolist(), explain(alerts, benign, scoring, native), strict=True):
            rows += _rows(split, name, each)
    return rows


def _scoring(bundle: Bundle) -> Scoring:
    calibration = bundle.calibration

    def evidence(x: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        return dict(zip(calibration.tails, bundle.model.scores(x).T.astype(np.float64), strict=True))

    return Scoring(evidence, lambda scores: calibration.score(*(scores[name] for name in calibration.tails)))


def _native(bundle: Bundle) -> Native:
    model = bundle.model

    def seen(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return in_batches(
            lambda part: with_features(model.encoder(part), part, model.pass_features), x, ROWS_AT_ONCE, model.device
        )

    columns = tuple(artifacts.read_model(artifacts.DETECTOR)[0]["columns"])
    return Native(model.detector, seen, columns, model.device)  # type: ignore[arg-type]  # every registered one explains


def _strongest(attack: NDArray[Any], score: NDArray[np.float64], flagged: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Rows of the strongest alerts of each attack, and of the benign records, whose alerts are false."""
    names = np.asarray(attack).astype(str)
    chosen = []
    for name in np.unique(names):
        rows = np.flatnonzero(flagged & (names == name))
        chosen.append(rows[np.argsort(-score[rows], kind="stable")][:MOST_OF_A_KIND])
    return np.concatenate(chosen).astype(np.intp) if chosen else np.zeros(0, np.intp)


def _rows(split: str, attack: str, each: Explanation) -> list[dict[str, Any]]:
    stage = max(each.shares, key=lambda name: each.shares[name])
    about = {"record_id": f"{each.record_id:016x}", "split": split, "attack": attack, "score": each.score}
    why = {"stage": stage, "share": each.shares[stage]}
    return [
        {**about, **why, "account": account, "rank": rank, **part._asdict()}
        for account, parts in (("replacement", each.features), ("terms", each.terms))
        for rank, part in enumerate(parts, 1)
    ]
