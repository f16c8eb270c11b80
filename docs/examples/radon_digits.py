"""RADON: the digit 4 is normal, one training row in ten is another digit, and no label says which."""

import sys

import torch
from lightning.pytorch import LightningDataModule
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from pipeline import ssad

SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 0


class Digits(LightningDataModule):
    def setup(self, stage):
        pixels, digit = load_digits(return_X_y=True)
        images, y = torch.tensor(pixels / 16).float().reshape(-1, 1, 8, 8), torch.tensor(digit != 4).long()
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(SEED))
        normal, other = order[y[order] == 0], order[y[order] == 1]
        self.train = Subset(TensorDataset(images, y), torch.cat([normal[:108], other[:12]]))
        self.test = Subset(TensorDataset(images, y), torch.cat([normal[108:], other[12:]]))

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=32, shuffle=True)

    def test_dataloader(self):
        return DataLoader(self.test, batch_size=256)


def autoencoder():
    torch.manual_seed(SEED)
    encoder = nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU()
    decoder = nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8))
    return nn.Sequential(*encoder, *decoder)


updates = ssad.Updates(ssad.Triangular(), ssad.Binary(), every_n_epochs=10, warm_up=10)
rules = {"score": ssad.cosine_distance, "objective": ssad.RADON(), "seed": SEED}
for name, plan in {"without": None, "with": updates}.items():
    out = f"runs/radon_digits/{name}"
    result = ssad.train(autoencoder(), Digits(), plan, out=out, **rules, max_epochs=60, accelerator="cpu")
    print(f"{name} updates: AUROC {result.test['auroc']:.3f}")
