"""A model that was registered before the modules moved into their rooms loads, and gives the same scores."""

import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.serving.bundle import Bundle

# A model folder as MLflow stored it, with the package of that time in it, 40 records and their scores.
REGISTERED = Path(__file__).parent / "before" / "registered.tar.gz"
ROUNDING = 1e-5  # relative: sums in float32 are rounded in another order on another processor
ROOT = Path(__file__).parents[2]
PYFUNC = """
import sys, warnings
warnings.simplefilter("ignore")
{first}
import mlflow, numpy as np, pandas as pd
rows = dict(np.load("rows.npz"))
score = rows.pop("_score")
rows.pop("_p")
frame = pd.DataFrame({{name: each.astype(object) if each.dtype.kind == "U" else each for name, each in rows.items()}})
judged = mlflow.pyfunc.load_model("model").predict(frame)
np.testing.assert_allclose(judged["score"], score, rtol={rounding})
"""


@pytest.fixture
def registered(tmp_path):
    with tarfile.open(REGISTERED) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_its_bundle_loads(registered):
    rows = dict(np.load(registered / "rows.npz"))
    score, p_value = rows.pop("_score"), rows.pop("_p")
    records = {name: each.astype(object) if each.dtype.kind == "U" else each for name, each in rows.items()}
    judged = Bundle.load(registered / "model" / "artifacts" / "bundle").predict(records)
    np.testing.assert_allclose(judged.score, score, rtol=ROUNDING)
    np.testing.assert_allclose(judged.p_value, p_value, rtol=ROUNDING)


@pytest.mark.parametrize("first", ["", f"sys.path.insert(0, {str(ROOT)!r}); import pipeline.serving.bundle"])
def test_its_pyfunc_loads_alone_and_beside_the_package_of_today(registered, first):
    script = PYFUNC.format(first=first, rounding=ROUNDING)
    done = subprocess.run([sys.executable, "-c", script], cwd=registered, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
