"""AUROC and F1 of a score on validation rows whose labels are known, after each epoch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.metrics import auroc, test_metrics

PERCENTILE = 99.0


def figures(y: NDArray[np.int64], score: NDArray[np.float64], cut: float | None) -> dict[str, Any]:
    """``val_auroc`` and ``val_f1`` of scores, (n,); a higher score is more anomalous.

    Args:
        y: (n,) labels, 1 for an attack; both classes are there.
        score: (n,).
        cut: the score above which a record is called an attack; None for the 99th percentile of the benign scores.
    """
    level = float(np.percentile(score[y == 0], PERCENTILE)) if cut is None else cut
    return {"val_auroc": auroc(y, score), "val_f1": test_metrics(y, score > level, level)["f1"]}
