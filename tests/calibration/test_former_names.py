"""A calibration that was stored under the former names of its scores loads, and decides as before."""

import numpy as np
import pytest

from pipeline.base.errors import ArtifactError
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.prediction import Prediction

RANDOM = np.random.default_rng(0)
BENIGN = RANDOM.normal(size=(3, 400))
RECORDS = RANDOM.normal(size=(3, 50)) * 2


def stored_formerly(calibration):
    """The state as an older version wrote it: evidence, counted, density."""
    values, arrays = calibration.state()
    former = {"scores": "evidence", "used": "counted"}
    old = {former.get(key, key): value for key, value in values.items()}
    for key in former.values():
        old[key] = ["density" if name == "detector" else name for name in old[key]]
    old["fusion"] = "density" if old["fusion"] == "detector" else old["fusion"]
    return old, {key.replace("detector.", "density."): value for key, value in arrays.items()}


@pytest.mark.parametrize("fusion", ["fisher", "max", "harmonic", "detector", "cascade"])
@pytest.mark.parametrize("used", [None, ["margin", "detector"]])
def test_it_decides_as_before(fusion, used):
    made = Calibration.fit(BENIGN[0], BENIGN[1], fusion, head=BENIGN[2], used=used)
    values, arrays = stored_formerly(made)
    assert "density" in values["evidence"] and "density.knots" in arrays
    loaded = Calibration.load(values, arrays)
    assert (loaded.fusion, loaded.used) == (made.fusion, made.used)
    one, other = (Prediction.of(each, *RECORDS) for each in (made, loaded))
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.p_value, other.p_value)
    assert [*other.scores] == ["margin", "detector", "head"]


def test_what_lacks_its_scores_under_both_names_is_refused():
    values, arrays = stored_formerly(Calibration.fit(*BENIGN[:2]))
    del values["evidence"]
    with pytest.raises(ArtifactError, match="calibrate again"):
        Calibration.load(values, arrays)
