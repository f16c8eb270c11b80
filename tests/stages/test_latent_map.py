"""The map of the latent that evaluate draws: test records alone, as many as it may, by a layout that is there."""

import importlib.util
import sys
import types
from typing import Any

import numpy as np
import pytest

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.latents import latent_groups
from pipeline.base.errors import ConfigError
from pipeline.base.samples import joined
from pipeline.settings.evaluate import Evaluate
from pipeline.stages.reports import latent_map


def drawn(project: Any, **changes: Any) -> tuple[Any, Any]:
    """The arguments with which the figure is asked for."""
    for name, value in changes.items():
        project.set(f"evaluate.{name}", value)
    asked: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent_map, "draw_latent_map", lambda *values, **named: asked.update(values=values, named=named))
        latent_map.latent_map(config.load(Evaluate), "somewhere")
    return asked["values"], asked["named"]


def test_it_shows_the_test_records_by_name(prepared: Any) -> None:
    (z, attack, y, unseen, rows), named = drawn(prepared, latent_map_rows=123)
    tests = [joined([*latent_groups(split)]) for split in ("test_seen", "test_unseen")]
    assert rows == 123
    order = np.random.default_rng(0).permutation(sum(map(len, tests)))[:50]
    np.testing.assert_array_equal(z(order), joined(tests).without_last_column().x[order])  # all but the margin
    assert (attack == np.concatenate([each.attack for each in tests])).all()
    assert set(unseen) == set(tests[1].attack[tests[1].y == 1])
    assert (y == np.concatenate([each.y for each in tests])).all()
    assert "project" not in named


def test_evaluate_draws_it_and_stage1_does_not(prepared: Any) -> None:
    prepared.run("evaluate")
    assert (paths.REPORTS / "evaluate" / "latent_map.svg").is_file()
    assert not (paths.REPORTS / "stage1" / "latent_map.svg").exists()


def test_umap_that_is_not_installed_is_refused_with_the_way_to_install_it(prepared: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    prepared.set("evaluate.latent_map", "umap")
    message = prepared.refusal("evaluate", ConfigError)
    assert message.startswith("evaluate.latent_map: 'umap' needs the package umap-learn, which is not installed; ")
    assert "pip install '.[umap]'" in message


def test_umap_lays_out_what_is_drawn(prepared: Any, monkeypatch: Any) -> None:
    class Layout:
        def __init__(self, **settings: Any) -> None:
            assert settings["random_state"] == 0

        def fit_transform(self, z: Any) -> Any:
            return z[:, :2]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Layout))
    _, named = drawn(prepared, latent_map="umap")
    assert named["method"] == "UMAP"
    z = np.arange(60.0).reshape(20, 3)
    assert (named["project"](z) == z[:, :2]).all()
    assert named["project"](z[:2]).shape == (2, 2)


def test_the_real_umap_gives_the_same_layout_again() -> None:
    pytest.importorskip("umap")
    z = np.random.default_rng(0).standard_normal((60, 4))
    first, again = (latent_map._umap(z) for _ in range(2))
    assert first.shape == (60, 2)
    assert np.isfinite(first).all()
    assert (first == again).all()
