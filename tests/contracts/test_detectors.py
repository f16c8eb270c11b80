"""Every registered detector."""

import pytest
import torch
from torch import Tensor

from pipeline.base.registry import build
from pipeline.models.base import Batch
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.registry import DETECTORS

F, N = 5, 400
SUPERVISED = {"MLP", "Boosting"}  # learn from attacks, so that what is far must be among them
STEPS = {"Boosting"}  # rows that no split tells apart are one; it stands beside another score
SATURATED = {"IsolationForest"}  # a score has an upper end, which every row outside the training rows shares


@pytest.fixture(params=sorted(DETECTORS))
def detector(request: pytest.FixtureRequest) -> Detector:
    torch.manual_seed(0)
    return build(DETECTORS, request.param, features=F).double()


def rows(n: int = N, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, F, generator=generator, dtype=torch.float64) * torch.arange(1, F + 1) - 3


def batch(detector: Detector) -> Batch:
    """Benign rows; for a supervised detector as many far ones, which are attacks."""
    far = N if type(detector).__name__ in SUPERVISED else 0
    y = torch.cat((torch.zeros(N), torch.ones(far)))
    return Batch(torch.cat((rows(), rows(far, seed=4) + 40)), y, 1 - 2 * y)


def fitted(detector: Detector) -> Detector:
    training = batch(detector)
    detector.fit(training.x, training.y)
    if detector.trainable:
        optimizer = torch.optim.Adam(detector.train().parameters(), 3e-3)
        for _ in range(10):
            loss = detector.loss(training)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return detector.eval()


def score(detector: Detector, x: Tensor) -> Tensor:
    with torch.no_grad():
        return detector.score(x)


def test_it_says_what_it_trains_on(detector: Detector) -> None:
    assert detector.trains_on in ("benign", "all")
    assert detector.features == F


def test_score_is_higher_for_what_is_far_from_the_training_rows(detector: Detector) -> None:
    fitted(detector)
    near, far = score(detector, rows(seed=2)), score(detector, rows(seed=3) + 40)
    assert near.shape == (N,)
    assert near.isfinite().all()
    assert far.isfinite().all()
    if type(detector).__name__ in SATURATED:
        assert far.min() > near.quantile(0.95)
    else:
        assert far.min() > near.max()


def test_a_record_is_scored_alone_and_the_same_each_time(detector: Detector) -> None:
    x = rows()
    values = score(fitted(detector), x)
    assert torch.equal(score(detector, x), values)
    assert torch.allclose(score(detector, x[7:8]), values[7:8])
    assert score(detector, x[:0]).shape == (0,)


def test_it_tells_records_apart(detector: Detector) -> None:
    values = score(fitted(detector), rows())
    least = 2 if type(detector).__name__ in STEPS else 0.9 * N
    assert len(values.unique()) > least


def test_loss_is_a_finite_scalar_that_reaches_every_parameter(detector: Detector) -> None:
    detector.fit(rows())
    loss = detector.train().loss(batch(detector))
    assert loss.shape == ()
    assert loss.isfinite()
    if detector.trainable:
        loss.backward()
        for name, parameter in detector.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_training_lowers_the_loss(detector: Detector) -> None:
    training = batch(detector)
    detector.fit(training.x, training.y)
    before = detector.loss(training).item()
    after = fitted(detector).loss(training).item()
    assert after < before if detector.trainable else after == pytest.approx(before)


def test_the_state_dict_is_the_whole_model(detector: Detector) -> None:
    fitted(detector)
    torch.manual_seed(9)
    again = type(detector)(features=F).double()
    again.load_state_dict(detector.state_dict())
    assert torch.equal(score(again.eval(), rows()), score(detector, rows()))


def test_what_was_fitted_is_no_collapse(detector: Detector) -> None:
    fitted(detector).verify(rows())


def test_constant_features_are_survived(detector: Detector) -> None:
    x = rows()
    x[:, 2] = 0.125
    detector.fit(x)
    assert score(detector, x).isfinite().all()


def test_no_features_are_refused(detector: Detector) -> None:
    with pytest.raises(ValueError, match="features must be at least 1, not 0"):
        type(detector)(features=0)
