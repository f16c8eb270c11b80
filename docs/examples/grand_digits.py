"""GRAnD: the digit 4 is normal, one training row in ten is another digit, and no label says which."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import Dataset

from pipeline import ssad

SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 0


class Digits(Dataset):
    def __init__(self, normal, other):
        self.pixels, digit = load_digits(return_X_y=True)
        order = torch.randperm(len(digit), generator=torch.Generator().manual_seed(SEED)).tolist()
        normals, others = [i for i in order if digit[i] == 4], [i for i in order if digit[i] != 4]
        self.rows = [(i, 0) for i in normals[normal]] + [(i, 1) for i in others[other]]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        i, y = self.rows[row]
        return torch.tensor(self.pixels[i] / 16).float().reshape(1, 8, 8), y


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64))

    def loss(self, x, noise=1.0):  # the free energy of each row
        mean, log_var = self.encoder(x).chunk(2, 1)
        z = mean + noise * torch.randn_like(mean) * (log_var / 2).exp()
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
        return (self.decoder(z) - x.flatten(1)).square().sum(1) + kl

    def score(self, x):
        return self.loss(x, noise=0.0)


updates = ssad.Updates(ssad.EVT(q=0.05, u="lower"), ssad.Binary(), every_n_epochs=10, warm_up=10)
rules = {"objective": ssad.GRAnD(margin=20), "optimizer": lambda p: torch.optim.Adam(p, 3e-3), "seed": SEED}
train, test = Digits(slice(108), slice(12)), Digits(slice(108, None), slice(12, None))
for name, plan in {"without": None, "with": updates}.items():
    torch.manual_seed(SEED)
    settings = {"out": f"runs/grand_digits/{name}", "batch_size": 32, "max_epochs": 60, "accelerator": "cpu"}
    result = ssad.train(VAE(), train, plan, test=test, **rules, **settings)
    print(f"{name} updates: AUROC {result.test['auroc']:.3f}")
