import pytest
import torch
from safetensors.numpy import load, save
from torch import Tensor

from pipeline.base.errors import CollapseError
from pipeline.models.base import Batch
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.deep_svdd import DeepSVDD
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.ocsvm import OCSVM

N = 4000


class Fixed(Detector):
    """Scores by the values that it is given."""

    def __init__(self, values: Tensor) -> None:
        super().__init__(1)
        self.values = values

    def score(self, x: Tensor) -> Tensor:
        return self.values[x[:, 0].long()]


def numbered(n: int = N) -> Tensor:
    return torch.arange(n, dtype=torch.float32)[:, None]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_names_its_row(value: float) -> None:
    scores = numbered()[:, 0].clone()
    scores[[17, 3999]] = value
    with pytest.raises(CollapseError, match=rf"Fixed, 4000 records: the score of row 17 is {value}, and 2 scores"):
        Fixed(scores).verify(numbered())


def test_few_distinct_scores_are_refused_where_the_rows_differ() -> None:
    with pytest.raises(CollapseError, match="the scores of rows that differ have 1 distinct values"):
        Fixed(torch.zeros(N)).verify(numbered())
    with pytest.raises(CollapseError, match="have 2 distinct values"):
        Fixed(numbered()[:, 0] % 2).verify(numbered())
    Fixed(numbered()[:, 0] % 3).verify(numbered())
    Fixed(torch.zeros(N)).verify(torch.ones(N, 1))  # the rows are one
    Fixed(numbered()[:, 0] % 2).verify(numbered() % 2)
    Fixed(torch.zeros(N)).verify(numbered(1))
    Fixed(torch.zeros(N)).verify(numbered(0))


def test_a_score_that_nearly_all_share_is_refused_where_the_rows_differ() -> None:
    scores = torch.zeros(N)
    scores[:3] = torch.tensor([1.0, 2.0, 3.0])
    with pytest.raises(CollapseError, match=r"99\.9\d* % of the records have the one score 0"):
        Fixed(scores).verify(numbered())
    Fixed(scores).verify(numbered().clamp_max(3))  # so do their rows
    scores[3] = 4.0  # 99.9 %
    Fixed(scores).verify(numbered())


def deep_svdd(steps: int) -> tuple[DeepSVDD, Tensor]:
    """Trained where one feature, of two equally frequent values, is as good as a bias: its magnitude is constant."""
    torch.manual_seed(0)
    x = torch.randn(64, 2)
    x[:, 0] = (torch.arange(64) % 2) * 2.0 - 1
    detector = DeepSVDD(2, hidden=(16,), latent=2)
    detector.fit(x)
    optimizer = torch.optim.Adam(detector.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        detector.loss(Batch(x, torch.zeros(64), torch.ones(64))).backward()
        optimizer.step()
        schedule.step()
    return detector.eval(), x


def test_deep_svdd_that_maps_all_to_its_centre_is_refused() -> None:
    early, x = deep_svdd(20)
    early.verify(x)
    assert 0.01 < early.spread(x) <= 1
    late, x = deep_svdd(2000)
    with pytest.raises(CollapseError, match="all records are mapped to one point"):
        late.verify(x)
    late.verify(x[:1].repeat(9, 1))  # the rows are one


def test_deep_svdd_whose_weights_vanished_is_refused() -> None:
    detector, x = deep_svdd(1)
    assert detector.spread(x) > 0.5
    with torch.no_grad():
        detector.network[0].weight.zero_()
    with pytest.raises(CollapseError, match="the latents lie 0 times as far apart as before training"):
        detector.verify(x)


@pytest.mark.parametrize("detector", [OCSVM(3, max_rows=50), KNN(3, references=60)], ids=["ocsvm", "knn"])
def test_buffers_take_the_shape_of_what_is_loaded_and_pass_through_safetensors(detector: Detector) -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    detector.fit(x)
    stored = load(save({name: tensor.numpy() for name, tensor in detector.state_dict().items()}))
    again = type(detector)(3)
    again.load_state_dict({name: torch.from_numpy(array) for name, array in stored.items()})
    assert torch.equal(again.score(x), detector.score(x))


def test_what_does_not_fit_is_still_refused() -> None:
    state = KNN(3).state_dict()
    for name, shape in (("reference", (7,)), ("reference", (7, 2)), ("standardise.mean", (7,))):
        with pytest.raises(RuntimeError, match=f"size mismatch for {name}"):
            KNN(3).load_state_dict({**state, name: torch.zeros(shape)})
    with pytest.raises(RuntimeError, match="Missing key"):
        KNN(3).load_state_dict({name: value for name, value in state.items() if name != "reference"})
