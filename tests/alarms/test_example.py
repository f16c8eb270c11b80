"""The example of the Python door runs as it stands."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "alarm_model.py"


def test_the_example_fits_predicts_and_explains(tmp_path):
    done = subprocess.run([sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("record_id", "p_value", "anomalous", "driver", "benign", "fall"):
        assert word in done.stdout
    assert not list(tmp_path.iterdir())
