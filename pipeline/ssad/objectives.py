"""Objectives, which combine values and confidence into a loss, and two scores of an autoencoder.

An objective maps (B,) values of a batch, from the model's ``loss`` or ``score``, and their (B,) confidence to the
scalar that training minimises. Any function of the two will do. Here are the two published ones and a general one.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from pipeline.models.base import shares, weighted_mean
from pipeline.models.detectors.grand import ecdf

Objective = Callable[[Tensor, Tensor], Tensor]
"""(B,) values and (B,) confidence in [-1, 1] to a scalar."""

PerRow = Callable[[nn.Module, Tensor], Tensor]
"""A model and a batch x of B rows to (B,) values."""

Unknown = Literal["ecdf", "ignore"]


class Weighted:
    """The weighted mean of v over benign rows and of ``negative(v)`` over anomalous ones.

    A row of confidence 1 counts as benign, one of -1 as anomalous, one of 0 as benign with the weight ``unknown``. In
    between the weights are linear in the confidence.

    Args:
        negative: (B,) values to (B,) losses of anomalous rows, such as ``lambda v: 1 / (v + 1e-6)``; None leaves
            anomalous rows out.
        unknown: weight of a row of confidence 0, in [0, 1].

    Raises:
        ValueError: if ``unknown`` is outside its limits.
    """

    def __init__(self, negative: Callable[[Tensor], Tensor] | None = None, unknown: float = 0.0) -> None:
        if not 0 <= unknown <= 1:
            raise ValueError(f"Weighted: needs 0 <= unknown <= 1, given {unknown}")
        self.negative, self.unknown = negative, unknown

    def __call__(self, value: Tensor, confidence: Tensor) -> Tensor:
        """(B,) and (B,) to a scalar; 0 if no row counts."""
        benign, anomalous = shares(confidence, self.unknown)
        if self.negative is None:
            return weighted_mean(value, benign)
        return weighted_mean(torch.cat([value, self.negative(value)]), torch.cat([benign, anomalous]))

    def __repr__(self) -> str:
        return f"Weighted(negative={self.negative}, unknown={self.unknown})"


class RADON:
    """The weighted mean of v^2 over benign and of (1 - v)^2 over anomalous rows; unknown rows have no part.

    v = 1 - s with s the cosine between a row and its reconstruction, as ``cosine_distance`` gives it.

    Source: Najari, Berlemont, Lefebvre, Duffner, Garcia, "RADON: Robust Autoencoder for Unsupervised Anomaly
    Detection" (SIN 2021).
    """

    def __call__(self, value: Tensor, confidence: Tensor) -> Tensor:
        """(B,) and (B,) to a scalar; 0 where all rows are unknown."""
        wanted = (confidence <= 0).to(value.dtype)
        return weighted_mean((value - wanted).square(), confidence.abs())

    def __repr__(self) -> str:
        return "RADON()"


class GRAnD:
    """The mean of F over benign rows, |m - F| over anomalous ones and eCDF(F) |m - F| over unknown ones.

    F is the free energy of a variational autoencoder or any other loss that has no upper limit. eCDF(F) is the share
    of the batch's unknown rows whose F is not higher.

    Source: Najari, Berlemont, Lefebvre, Duffner, Garcia, GRAnD (AINA 2022).

    Args:
        margin: m, above the F of benign rows; published: 10 and 100.
        unknown: ``ecdf`` as published, or ``ignore``.

    Raises:
        ValueError: if a setting is outside its limits.
    """

    def __init__(self, margin: float, unknown: Unknown = "ecdf") -> None:
        if not 0 < margin < float("inf") or unknown not in get_args(Unknown):
            raise ValueError(
                f"GRAnD: needs margin > 0 and unknown one of {get_args(Unknown)}, given {margin}, {unknown!r}"
            )
        self.margin, self.unknown = margin, unknown

    def __call__(self, value: Tensor, confidence: Tensor) -> Tensor:
        """(B,) and (B,) to a scalar."""
        pushed = (-confidence).relu()
        if self.unknown == "ecdf":
            share = 1 - confidence.abs()
            pushed = pushed + share * ecdf(value.detach(), share)
        return (confidence.relu() * value + pushed * (self.margin - value).abs()).mean()

    def __repr__(self) -> str:
        return f"GRAnD(margin={self.margin}, unknown={self.unknown!r})"


def squared_error(model: nn.Module, x: Tensor) -> Tensor:
    """Sum of the squared differences between each row and what ``model`` makes of it, (B, ...) to (B,)."""
    error: Tensor = (model(x) - x).flatten(1).square().sum(1)
    return error


def cosine_distance(model: nn.Module, x: Tensor) -> Tensor:
    """1 - cosine between each row and what ``model`` makes of it, (B, ...) to (B,); in [0, 1] where no value is < 0."""
    given, made = (torch.nn.functional.normalize(part.flatten(1), dim=1) for part in (x, model(x)))
    return 0.5 * (given - made).square().sum(1)  # keeps its digits near 0
