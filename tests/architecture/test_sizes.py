"""A stage reads like the sentence in its docstring: each file of it fits on a screen."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = sorted((ROOT / "pipeline" / "stages").glob("*.py"))
MOST_LINES = 60


@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.name)
def test_a_stage_file_fits_on_a_screen(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_the_stages_are_found():
    assert {"__init__", "ingest", "evaluate"} <= {path.stem for path in STAGES}
