"""What a user may bring: any module, any data, and what is said of what cannot be used."""

import math

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from pipeline import ssad
from pipeline.base.errors import ArtifactError, DataError, TrainingError
from pipeline.models.detectors.registry import DETECTORS
from tests.ssad.small import OUTLIERS, Centre, Images, Losses, N, column, train

# Models.


class LossAlone(nn.Module):
    def __init__(self):
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(1, 2, 2))

    def loss(self, x):
        return (x - self.centre).flatten(1).abs().sum(1)


class Both(LossAlone):
    def score(self, x):
        return -x.flatten(1).sum(1)


class Named(nn.Module):
    """Holds a module under the name of a method."""

    def __init__(self):
        super().__init__()
        self.net, self.loss = nn.Linear(4, 4), nn.MSELoss()

    def score(self, x):
        return (self.net(x.flatten(1)) - x.flatten(1)).square().sum(1)


def test_a_loss_alone_is_the_score_too(tmp_path):
    result = train(tmp_path, LossAlone())
    assert (result.scores[:OUTLIERS] > result.scores[OUTLIERS:].max()).all()


def test_where_there_are_both_the_loss_trains_and_the_score_judges(tmp_path):
    model = Both()
    result = train(tmp_path, model)
    assert model.centre.abs().sum() > 0
    assert (result.scores[:OUTLIERS] < 0).all()


def test_a_plain_autoencoder_is_scored_by_a_function(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2)))
    result = train(tmp_path, net, score=ssad.squared_error, optimizer=None)
    x = torch.stack([Images()[row][0] for row in range(N)])
    assert result.scores == pytest.approx((net(x) - x).flatten(1).square().sum(1).tolist(), rel=1e-5)


def test_a_module_that_is_called_loss_is_no_loss_of_a_row(tmp_path):
    assert train(tmp_path, Named()).scores.shape == (N,)


def test_a_detector_of_this_package_is_a_module_with_a_score(tmp_path):
    table = TensorDataset(torch.randn(40, 3))
    result = train(tmp_path, DETECTORS["radon"](3), table, objective=ssad.RADON())
    assert result.scores.shape == (40,)


class Bad(Centre):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def score(self, x):
        return self.make(super().score(x))


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (lambda s: s[:, None], r"torch.float32 \(16, 1\)"),
        (lambda s: s.mean(), r"torch.float32 \(\)"),
        (lambda s: s.long(), r"torch.int64 \(16,\)"),
        (lambda s: s.tolist(), "list"),
    ],
)
def test_a_score_of_the_wrong_shape_says_what_is_needed(tmp_path, make, given):
    message = rf"Bad: loss: needs one floating-point number for each of 16 rows, \(16,\), gave {given}"
    with pytest.raises(TrainingError, match=message):
        train(tmp_path, Bad(make))


def test_a_model_without_score_and_loss_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"Linear: has neither a method score\(x\) nor loss\(x\); give it one"):
        train(tmp_path, nn.Linear(4, 4))


def test_an_objective_that_gives_no_scalar_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"needs to give a scalar tensor, gave \(16,\)"):
        train(tmp_path, objective=lambda value, confidence: value * confidence)


def test_a_loss_that_is_nan_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="Bad: the loss became nan in epoch 0; lower the learning rate"):
        train(tmp_path, Bad(lambda s: s * math.nan))


def test_a_score_that_is_nan_names_the_record(tmp_path):
    class Broken(LossAlone):
        def score(self, x):
            far = x.flatten(1).sum(1)
            return torch.where(far == far.max(), math.nan, far)

    worst = int(np.argmax([float(Images()[row][0].sum()) for row in range(16)]))
    with pytest.raises(TrainingError, match=rf"record img-{worst}: the score of \d+ training records became NaN"):
        train(tmp_path / "a", Broken(), record_id=lambda row: f"img-{row}")
    with pytest.raises(TrainingError, match=r"Broken: \d of 60 validation scores are NaN"):
        train(tmp_path / "val", Broken(), updates=None, val=Images(seed=1))
    with pytest.raises(TrainingError, match="Broken: 4 scores are NaN after training"):
        train(tmp_path / "b", Broken(), updates=None)


# Data.


def test_no_more_rows_are_read_at_once_than_a_batch_holds(tmp_path):
    data = Images(200, 20)
    result = train(tmp_path, data=data, val=Images(seed=1), batch_size=7, max_epochs=4)
    assert result.scores.shape == (200,)
    assert max(data.at_once) == 7


def test_a_data_set_without_a_batched_getter_and_without_labels(tmp_path):
    class Rows(Dataset):
        def __len__(self):
            return N

        def __getitem__(self, row):
            return Images()[row][0]

    result = train(tmp_path, data=Rows(), test=Rows())
    assert result.scores.shape == (N,) and result.test == {}
    assert not list(tmp_path.glob("test_metrics*"))
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "auroc" not in text and "update.anomalous" in text
    assert "y" not in (tmp_path / "confidence_epoch_1.csv").read_text().splitlines()[0].split(",")


def test_rows_without_a_label_are_left_out_of_the_figures(tmp_path):
    class Some(Images):
        def __getitem__(self, row):
            x, y = super().__getitem__(row)
            return x, math.nan if row % 2 else float(y)

    result = train(tmp_path, data=Some(), test=Some(seed=1), thresholds=[5])
    counts = result.test["thresholds"]["5"]
    assert counts["TP"] + counts["FP"] + counts["TN"] + counts["FN"] == N / 2
    assert set(column(tmp_path / "confidence_epoch_1.csv", "y")) == {"0", "1", "-1"}


class Module(LightningDataModule):
    """Counts its hooks, collates by a function of its own and halves the images on the device."""

    def __init__(self):
        super().__init__()
        self.called = []

    def prepare_data(self):
        self.called.append("prepare_data")

    def setup(self, stage):
        self.called.append(f"setup {stage} of {self.trainer.max_epochs} epochs")
        self.data = Images()

    def teardown(self, stage):
        self.called.append(f"teardown {stage}")

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return {**batch, "data": batch["data"] / 2}

    def _loader(self, **settings):
        return DataLoader(self.data, 16, collate_fn=self._collate, **settings)

    def _collate(self, items):
        return {"data": torch.stack([x for x, _ in items]), "label": torch.tensor([y for _, y in items])}

    def train_dataloader(self):
        return self._loader(shuffle=True)

    def val_dataloader(self):
        return [self._loader()]

    def test_dataloader(self):
        return self._loader()


def test_a_data_module_keeps_its_hooks_collate_function_and_transfers(tmp_path):
    data, model = Module(), Centre()
    result = train(tmp_path, model, data, max_epochs=3)
    assert data.called[:2] == ["prepare_data", "setup fit of 3 epochs"]
    assert {"setup test of 3 epochs", "teardown fit", "teardown test"} <= set(data.called)
    x = torch.stack([Images()[row][0] for row in range(N)]) / 2
    with torch.no_grad():
        assert result.scores == pytest.approx(model.score(x).double().numpy(), rel=1e-5)
    assert result.test["auroc"] == 1 and "val_auroc" in result.history[0]


def test_a_data_module_without_validation_and_test_is_enough(tmp_path):
    class Small(LightningDataModule):
        def train_dataloader(self):
            return DataLoader(Images(), 16)

    assert train(tmp_path, data=Small()).test == {}


def test_the_sampler_of_the_user_decides_what_is_drawn(tmp_path):
    drawn = []

    class Seen(Images):
        def __getitems__(self, rows):
            drawn.extend(rows)
            return super().__getitems__(rows)

    weights = [0.0] * 30 + [1.0] * 30
    loader = DataLoader(Seen(), 10, sampler=WeightedRandomSampler(weights, 20))
    result = train(tmp_path, data=loader, updates=None, max_epochs=2)
    assert min(drawn[:40]) >= 30
    assert drawn[40:] == list(range(N))  # all rows are scored
    assert len(result.scores) == N


def test_rows_that_a_subset_sampler_leaves_out_are_not_judged(tmp_path):
    halves = SubsetRandomSampler(range(20, N)), SubsetRandomSampler(range(20))
    train_loader, val_loader = (DataLoader(Images(), 8, sampler=half) for half in halves)
    result = train(tmp_path, data=train_loader, val=val_loader)
    assert result.record_id.tolist() == list(range(20, N))
    assert column(tmp_path / "confidence_epoch_1.csv", "record_id") == [str(row) for row in range(20, N)]


def test_a_sampler_of_batches_and_workers(tmp_path):
    class Batches:
        batch_size = 10

        def __len__(self):
            return 3

        def __iter__(self):
            return iter([list(range(10)), list(range(20, 30)), list(range(50, 60))])

    objective = Losses()
    # A worker is a new process: one that is forked runs what Prefect has left for the end of this one, and fails.
    loader = DataLoader(Images(), batch_sampler=Batches(), num_workers=1, multiprocessing_context="spawn")
    result = train(tmp_path, data=loader, objective=objective, max_epochs=2, updates=None)
    assert [len(given) for given in objective.given] == [10] * 6
    assert len(result.scores) == N


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Images())


class Shapeless(Dataset):
    def __getitem__(self, row):
        return Images()[row]


STREAM = DataLoader(Stream(), 4)


@pytest.mark.parametrize("data", [Stream(), Shapeless(), STREAM], ids=["stream", "no length", "loader"])
def test_data_without_a_length_is_refused(tmp_path, data):
    with pytest.raises(DataError, match=r"has no length, or no row at a position; .* __len__ and __getitem__"):
        train(tmp_path, data=data)


def test_data_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(DataError, match="Images is empty; at least one row is needed"):
        train(tmp_path, data=Images(0))
    with pytest.raises(DataError, match="batch_size is None"):
        train(tmp_path, data=DataLoader(Images(), batch_size=None))
    with pytest.raises(DataError, match="brings val and test itself"):
        train(tmp_path, data=Module(), val=Images())

    class Two(Module):
        def train_dataloader(self):
            return [self._loader(), self._loader()]

    with pytest.raises(DataError, match="train_dataloader: needs one torch DataLoader, given list"):
        train(tmp_path, data=Two())


def test_labels_and_batches_that_cannot_be_used_are_refused(tmp_path):
    images = torch.zeros(4, 1, 2, 2)
    with pytest.raises(DataError, match="labels: 0 is normal, 1 anomalous, -1 or NaN unknown; given 7 at row 2"):
        train(tmp_path / "a", data=TensorDataset(images, torch.tensor([0, 1, 7, 0])))
    with pytest.raises(DataError, match=r"labels: needs one for each of 4 rows, given the shape \(4, 2\)"):
        train(tmp_path / "b", data=TensorDataset(images, torch.zeros(4, 2)))

    class Odd(Images):
        def __getitem__(self, row):
            return {"picture": super().__getitem__(row)[0]}

    with pytest.raises(DataError, match="given a dict with 'picture'"):
        train(tmp_path / "c", data=Odd())


def test_an_initial_confidence_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"needs one confidence for each row of the data set, at least 60"):
        train(tmp_path, initial=np.ones(3))
    with pytest.raises(DataError, match=r"a confidence lies in \[-1, 1\], but 1 of 60 do not, such as 2"):
        train(tmp_path, initial=np.where(np.arange(N) == 5, 2.0, 1.0))
    given = tmp_path / "confidence.csv"
    given.write_text("record_id,confidence\n0,1\n")
    with pytest.raises(DataError, match="59 of 60 rows have no confidence in it, such as 1, 2, 3"):
        train(tmp_path, initial=given)
    with pytest.raises(ArtifactError, match="a CSV or Parquet file with the columns record_id and confidence"):
        train(tmp_path, initial=tmp_path / "absent.csv")
