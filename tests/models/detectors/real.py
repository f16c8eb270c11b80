"""Features of real benign records, for tests that need how real ones cluster."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.choice import RECIPE
from benchmarks.encoders import Drawing, read

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "cicids2017_improved"


def benign_features() -> tuple[Tensor, Tensor]:
    """(n, F) of train and (m, F) of val, scaled as the pipeline does it. Without the records the test is skipped."""
    if not FOLDER.is_dir():
        pytest.skip(f"needs the real records of {FOLDER}")
    drawing = Drawing(read(FOLDER), 0, RECIPE, "benign")
    val = drawing.x["val"][drawing.attack["val"] == "benign"]
    return tuple(torch.from_numpy(np.ascontiguousarray(each)) for each in (drawing.benign(), val))  # type: ignore[return-value]
