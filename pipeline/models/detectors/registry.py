"""Detectors by name, as ``params.yaml`` spells it."""

from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.boosting import Boosting
from pipeline.models.detectors.deep_svdd import DeepSVDD
from pipeline.models.detectors.ensemble import Ensemble
from pipeline.models.detectors.gmm import GMM
from pipeline.models.detectors.grand import GRAnD
from pipeline.models.detectors.isolation_forest import IsolationForest
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.maf import MAF
from pipeline.models.detectors.mahalanobis import Mahalanobis
from pipeline.models.detectors.mlp import MLP
from pipeline.models.detectors.ocsvm import OCSVM
from pipeline.models.detectors.pca import PCA
from pipeline.models.detectors.peeled import Peeled
from pipeline.models.detectors.radon import RADON
from pipeline.models.detectors.robust import Robust

DETECTORS: dict[str, type[Detector]] = {
    "maf": MAF,
    "mahalanobis": Mahalanobis,
    "gmm": GMM,
    "ensemble": Ensemble,
    "robust": Robust,
    "radon": RADON,
    "grand": GRAnD,
    "isolation_forest": IsolationForest,
    "ocsvm": OCSVM,
    "knn": KNN,
    "pca": PCA,
    "peeled": Peeled,
    "mlp": MLP,
    "boosting": Boosting,
    "deep_svdd": DeepSVDD,
}
