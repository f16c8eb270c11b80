"""Detectors: latent -> score, each under its name. To add one: a file, a line here, a section in params.yaml."""

from pipeline.detectors.base import Detector
from pipeline.detectors.boosting import Boosting
from pipeline.detectors.deep_svdd import DeepSVDD
from pipeline.detectors.ensemble import Ensemble
from pipeline.detectors.folds import Folds
from pipeline.detectors.gmm import GMM
from pipeline.detectors.grand import GRAnD
from pipeline.detectors.isolation_forest import IsolationForest
from pipeline.detectors.knn import KNN
from pipeline.detectors.maf import MAF
from pipeline.detectors.mahalanobis import Mahalanobis
from pipeline.detectors.mlp import MLP
from pipeline.detectors.ocsvm import OCSVM
from pipeline.detectors.pca import PCA
from pipeline.detectors.radon import RADON

DETECTORS: dict[str, type[Detector]] = {
    "maf": MAF,
    "mahalanobis": Mahalanobis,
    "gmm": GMM,
    "ensemble": Ensemble,
    "radon": RADON,
    "grand": GRAnD,
    "isolation_forest": IsolationForest,
    "ocsvm": OCSVM,
    "knn": KNN,
    "pca": PCA,
    "mlp": MLP,
    "boosting": Boosting,
    "deep_svdd": DeepSVDD,
}

__all__ = [
    "DETECTORS",
    "GMM",
    "KNN",
    "MAF",
    "MLP",
    "OCSVM",
    "PCA",
    "RADON",
    "Boosting",
    "DeepSVDD",
    "Detector",
    "Ensemble",
    "Folds",
    "GRAnD",
    "IsolationForest",
    "Mahalanobis",
]
