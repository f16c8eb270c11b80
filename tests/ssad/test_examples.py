"""The two examples run as the page shows them, and the page shows them as they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ssad

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ssad.md").read_text()
EXAMPLES = ("radon_digits", "grand_digits")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_shows_the_example_as_it_is(name):
    assert f"```python\n{(ROOT / 'docs' / 'examples' / f'{name}.py').read_text()}```" in PAGE


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs_as_the_page_says_and_updates_help(name, tmp_path):
    (command,) = re.findall(rf"^python (docs/examples/{name}\.py)$", PAGE, re.MULTILINE)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, str(ROOT / command)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    without, with_updates = (float(value) for value in re.findall(r"updates: AUROC (0\.\d+)", done.stdout))
    assert 0.85 < without < with_updates
    for run in ("without", "with"):
        folder = tmp_path / "runs" / name / run
        names = {path.name for path in folder.iterdir()}
        assert {"history.csv", "metrics.jsonl", "model.safetensors"} <= names
    assert {f"confidence_epoch_{epoch}.csv" for epoch in (9, 19, 29, 39, 49, 59)} <= names
    assert any(each.startswith("test_metrics_threshold=") for each in names)


def test_the_page_names_everything_that_the_library_offers():
    assert {name for name in ssad.__all__ if f"`{name}" not in PAGE} == set()


SNIPPETS = re.findall(r"```python\n(from pipeline import ssad\n.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_the_snippets_of_the_page_run(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    exec(compile(snippet, "docs/ssad.md", "exec"), {"__name__": "page"})


def test_the_page_has_snippets():
    assert len(SNIPPETS) >= 3
