"""The parts of a bundle as models of PyTorch: those that were trained, that run on a device, or that are older."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from pipeline.base.registry import build
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.models.on_device import DetectorOnDevice, EncoderOnDevice

Weights = Mapping[str, NDArray[Any]]


def encoder(about: Mapping[str, Any], features: int, weights: Weights, device: str) -> EncoderOnDevice:
    """The trained encoder.

    Raises:
        ConfigError: its settings are unknown.
        KeyError: its description lacks one.
        RuntimeError: its weights do not fit its settings.
    """
    with torch.random.fork_rng(devices=[]):  # building draws weights, which are replaced
        loss = build(LOSSES, about["loss"], **about["loss_settings"])
        built = build(ENCODERS, about["encoder"], features=features, loss=loss, **about["settings"])
    built.load_state_dict(_tensors(weights))
    return EncoderOnDevice(built, device)


def detector(
    name: str,
    features: int,
    settings: Mapping[str, Any],
    weights: Weights,
    folds: Mapping[str, Any] | None,
    device: str,
) -> DetectorOnDevice:
    """The fitted detector; the arguments are those of ``pipeline.models.arrays.registry.detector``.

    Raises:
        ConfigError: its settings are unknown.
        RuntimeError: its weights do not fit its settings.
    """
    with torch.random.fork_rng(devices=[]):
        number = 1 if folds is None else folds["number"]
        models = [build(DETECTORS, name, features=features, **settings) for _ in range(number)]
        built = models[0] if folds is None else Folds(features, models, folds["seed"])
    built.load_state_dict(_tensors(weights))
    return DetectorOnDevice(built, device)


def _tensors(weights: Weights) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array) for name, array in weights.items()}
