"""Arrays -> matplotlib ``Figure``, in one look; ``svg(figure)`` makes the file's bytes.

Nothing here draws on a screen, keeps a figure alive or changes a global setting. Titles say what is to be seen,
captions how many records it is seen on.
"""

from pipeline.figures.confidence import confidence_analysis
from pipeline.figures.drift import drift
from pipeline.figures.judgement import calibration_curve, confusion, recall_per_attack, roc_pr
from pipeline.figures.latent import latent_map
from pipeline.figures.models import loss_curves, score_histogram
from pipeline.figures.records import class_counts, expectations, feature_spread, splits
from pipeline.figures.shortcuts import shortcuts
from pipeline.figures.style import svg

__all__ = [
    "calibration_curve",
    "class_counts",
    "confidence_analysis",
    "confusion",
    "drift",
    "expectations",
    "feature_spread",
    "latent_map",
    "loss_curves",
    "recall_per_attack",
    "roc_pr",
    "score_histogram",
    "shortcuts",
    "splits",
    "svg",
]
