"""What an explanation keeps to, whatever detector gave the score: a planted shift of one feature comes out on top."""

from functools import cache

import numpy as np
import pytest
import torch

from pipeline.artifacts.models import encode_model
from pipeline.base.registry import build
from pipeline.base.samples import Samples
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.surprisal import Surprisal
from pipeline.datasets.schema import Column
from pipeline.evaluation.attribution import Explanation, Native, explain
from pipeline.evaluation.replacement import Scoring
from pipeline.models.base import Batch
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.models.on_device import DetectorOnDevice, EncoderOnDevice
from pipeline.models.scoring import in_batches
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.recipe import Recipe
from pipeline.serving.bundle import Bundle
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.reasons import Explainer
from pipeline.serving.two_stage import TwoStage
from pipeline.serving.usual import number

F, N, SHIFT = 6, 1_000, 8.0
COLUMNS = tuple("abcdef")
NARROW = {
    "maf": {"layers": 2, "hidden": 64},
    "radon": {"hidden": (16, 2)},
    "grand": {"latent": 2},
    "gmm": {"components": 2},
    "pca": {"variance": 0.6},  # the common factors; of more it would be blind to a shift in them
}
BY_TERMS = ["gmm", "grand", "knn", "maf", "mahalanobis", "pca", "radon"]
LEAST = 0.95
UNITS = (1.0, 10.0, 0.1, 100.0, 1.0, 5.0)  # of the raw columns, a deviation each
NEAR = ("ensemble", "knn")  # they look at some of the references alone where one entry is replaced
LEAST_BY_TERMS = {"maf": 0.85}  # its later layers hand some of a shift on to the other features


def benign(n: int, seed: int) -> np.ndarray:
    """(n, F) Gaussian with variances 1, of which two common factors make six tenths."""
    rng, loads = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(2, F))
    loads /= np.linalg.norm(loads, axis=0)
    x = np.sqrt(0.6) * rng.normal(size=(n, 2)) @ loads + np.sqrt(0.4) * rng.normal(size=(n, F))
    return x.astype(np.float32)


def shifted(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Benign records with one feature moved up or down by SHIFT deviations, and which one it is."""
    x, row = benign(n, seed), np.arange(n)
    x[row, row % F] += np.where(row // F % 2, SHIFT, -SHIFT)
    return x, row % F


def samples(x: np.ndarray, first_id: int = 0) -> Samples:
    n = len(x)
    ids = np.arange(first_id, first_id + n, dtype=np.uint64)
    ones, names = np.ones(n, np.float32), np.full(n, "benign", dtype=object)
    return Samples(ids, np.zeros(n, np.int8), names, ones, ones.astype(bool), x, COLUMNS)


@cache
def fitted(name: str) -> Detector:
    torch.manual_seed(0)
    detector = build(DETECTORS, name, features=F, **NARROW.get(name, {}))
    x = torch.from_numpy(benign(N, 1))
    y = torch.zeros(N)
    if detector.trains_on == "all":
        x, y = torch.cat((x, torch.from_numpy(shifted(N, 2)[0]))), torch.cat((y, torch.ones(N)))
    detector.fit(x[: N if detector.trainable else None], y[: N if detector.trainable else None])
    if detector.trainable:
        optimizer = torch.optim.Adam(detector.train().parameters(), 5e-3)
        for _ in range(200):
            drawn = torch.randint(len(x), (256,))
            loss = detector.loss(Batch(x[drawn], y[drawn], 1 - 2 * y[drawn]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return detector.eval()


@cache
def scoring(name: str) -> Scoring:
    """The surprise of the detector alone, since another score might find the shift for it."""
    detector = fitted(name)

    def score(x: np.ndarray) -> np.ndarray:
        return in_batches(detector.score, x, 8192, "cpu")

    tail = Surprisal.fit(score(benign(N, 3)))
    return Scoring(lambda x: {"detector": score(x)}, lambda scores: tail.surprise(scores["detector"]))


def explained(name: str, alerts: Samples) -> list[Explanation]:
    native = Native(DetectorOnDevice(fitted(name)), lambda x: x, COLUMNS)
    return explain(alerts, samples(benign(N, 1)), scoring(name), native, top=F)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_a_planted_shift_comes_out_on_top(name: str) -> None:
    x, planted = shifted(60, 5)
    found = [COLUMNS.index(each.features[0].feature) for each in explained(name, samples(x, 5000))]
    assert np.mean(found == planted) >= LEAST


@pytest.mark.parametrize("name", BY_TERMS)
def test_a_planted_shift_has_the_greatest_term(name: str) -> None:
    x, planted = shifted(60, 5)
    found = [COLUMNS.index(each.terms[0].feature) for each in explained(name, samples(x, 5000))]
    assert np.mean(found == planted) >= LEAST_BY_TERMS.get(name, LEAST)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_a_part_has_the_value_of_the_record_and_one_of_a_benign_record(name: str) -> None:
    x, _ = shifted(3, 6)
    known = benign(N, 1)
    for each, record in zip(explained(name, samples(x, 5000)), x, strict=True):
        values = {part.feature: part.value for part in each.features}
        np.testing.assert_array_equal([values[column] for column in COLUMNS], record)
        for part in each.features:
            at = known[list(each.references), COLUMNS.index(part.feature)]
            assert part.reference == np.median(at)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_the_order_of_the_alerts_does_not_matter(name: str) -> None:
    alerts = samples(shifted(12, 7)[0], 5000)
    order = np.random.default_rng(0).permutation(12)
    straight, mixed = explained(name, alerts), explained(name, alerts.select(order))
    for one, other in zip((straight[i] for i in order), mixed, strict=True):
        assert (one.record_id, one.references, one.neighbours) == (other.record_id, other.references, other.neighbours)
        for account in ("features", "terms"):
            mine, others = ({part.feature: part.contribution for part in getattr(e, account)} for e in (one, other))
            assert mine == pytest.approx(others, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_explaining_changes_no_model_and_draws_nothing(name: str) -> None:
    detector, alerts = fitted(name), samples(shifted(4, 8)[0], 5000)
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    given = alerts.x.copy()
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    first, again = explained(name, alerts), explained(name, alerts)
    assert first == again
    assert torch.equal(torch.rand(2), expected[0])
    np.testing.assert_array_equal(np.random.rand(2), expected[1])  # noqa: NPY002
    np.testing.assert_array_equal(alerts.x, given)
    assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())
    assert not detector.training


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_what_is_replaced_quickly_is_what_is_replaced_one_by_one(name: str) -> None:
    detector, x = fitted(name), torch.from_numpy(shifted(24, 9)[0])
    reference = torch.from_numpy(benign(24, 10))
    reference[:, 0] = x[:, 0]
    with torch.inference_mode():
        quick, slow = detector.replaced(x, reference), Detector.replaced(detector, x, reference)
        torch.testing.assert_close(quick[:, 0], detector.scores(x), rtol=1e-4, atol=1e-4)
    if name in NEAR:
        assert (quick >= slow - 1e-4).all()
        assert (quick.argmin(1) == slow.argmin(1)).float().mean() >= LEAST
    else:
        torch.testing.assert_close(quick, slow, rtol=1e-4, atol=1e-3)


def recorded(x: np.ndarray) -> dict[str, np.ndarray]:
    """Features as columns in units of their own."""
    return {each: UNITS[place] * x[:, place].astype(np.float64) + 1_000 for place, each in enumerate(COLUMNS)}


@cache
def bundle(name: str) -> Bundle:
    """A model of raw columns, in units of their own, behind the detector; it keeps benign records."""
    raw = recorded(benign(N, 1))
    features = Features.fit([raw], N, Recipe((), (), "zero", True, "standard", None, "one_hot", ()))
    encoder = build(ENCODERS, "identity", features=F, loss=build(LOSSES, "dccl"))
    silent = np.zeros(N)
    calibration = Calibration.fit(silent, in_batches(fitted(name).scores, benign(N, 3), 8192, "cpu"), used=["detector"])
    ids = np.arange(N, dtype=np.uint64)
    about, kept = encode_model({"words": {}}, {"record_id": ids, **{k: v.astype(np.float32) for k, v in raw.items()}})
    sealed = HashedFolder({}, {"benign.json": about, "benign.safetensors": kept})
    columns = tuple(Column(each) for each in COLUMNS)
    return Bundle(
        "table",
        columns,
        ids,
        features,
        TwoStage(EncoderOnDevice(encoder), DetectorOnDevice(fitted(name)), calibration),
        sealed,
    )


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_a_planted_deviation_is_the_first_reason_of_an_alert_in_raw_units(name: str) -> None:
    x, planted = shifted(60, 5)
    records = recorded(x)
    found = Explainer(bundle(name)).explain(records)
    first = [each.causes[0].reason for each in found]
    assert np.mean([COLUMNS.index(reason.feature) == j for reason, j in zip(first, planted, strict=True)]) >= LEAST
    for row, reason in enumerate(first):
        value = records[reason.feature][row]
        assert reason.value == pytest.approx(value) and reason.low < reason.high
        assert f"{reason.feature} {number(value)}" in reason.text and "98 of 100 benign records: " in reason.text
        assert 0 <= reason.share <= 1
    outside = [not each.low <= each.value <= each.high for each in first]
    assert np.mean(outside) >= LEAST
    assert all(2 <= len(each.causes) <= 5 and each.driver == "detector" for each in found)
