"""Detectors: latent -> score, each under its name. To add one: a file, a line here, a section in params.yaml."""

from pipeline.detectors.base import Detector
from pipeline.detectors.gmm import GMM
from pipeline.detectors.maf import MAF
from pipeline.detectors.mahalanobis import Mahalanobis

DETECTORS: dict[str, type[Detector]] = {"maf": MAF, "mahalanobis": Mahalanobis, "gmm": GMM}

__all__ = ["DETECTORS", "GMM", "MAF", "Detector", "Mahalanobis"]
