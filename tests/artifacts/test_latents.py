"""Latents that are features are stored once; all are read whole, in parts, or as some rows."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import latents, paths, tables
from pipeline.artifacts.samples import columns_of_x, read_samples, sample_groups, write_samples
from pipeline.base.errors import ArtifactError
from pipeline.base.samples import Samples, joined


@pytest.fixture(autouse=True)
def small_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for room in (paths.PROCESSED, paths.LATENT):
        room.mkdir(parents=True)
    monkeypatch.setattr(tables, "ROW_GROUP", 7)


def samples(n: int, columns: tuple[str, ...]) -> Samples:
    random = np.random.default_rng(0)
    y = random.integers(2, size=n).astype(np.int8)
    names = np.where(y == 1, "bot", "benign").astype(object)
    x = random.normal(size=(n, len(columns))).astype(np.float32)
    return Samples(np.arange(n, dtype=np.uint64), y, names, np.ones(n, np.float32), y == 1, x, columns)


def stored(n: int = 20) -> tuple[Samples, Samples]:
    """Features, and a latent that is these, the second column first."""
    features = samples(n, ("a", "b"))
    write_samples(paths.PROCESSED, "val", features)
    margin = samples(n, ("margin",))
    with latents.latents_writer(paths.LATENT, "val", ("margin",), {"z0": "b", "z1": "a"}) as write:
        for start in range(0, n, 6):
            write(margin.select(slice(start, start + 6)))
    return features, margin


def test_a_latent_that_is_features_is_read_from_these() -> None:
    features, margin = stored()
    assert columns_of_x(paths.LATENT / "val.parquet") == ("margin",)
    assert latents.latent_columns("val") == ("z0", "z1")
    found = latents.read_latents("val")
    assert found.columns == ("z0", "z1")
    np.testing.assert_array_equal(found.x, features.x[:, ::-1])
    parts = list(latents.latent_groups("val"))
    assert [len(part) for part in parts] == [7, 7, 6]
    whole = joined(parts)
    assert whole.columns == ("z0", "z1", "margin")
    np.testing.assert_array_equal(whole.x, np.concatenate([features.x[:, ::-1], margin.x], axis=1))
    assert whole.attack.tolist() == features.attack.tolist()


def test_some_rows_are_those_of_the_whole() -> None:
    features, margin = stored()
    rows = np.arange(20) % 3 == 0
    np.testing.assert_array_equal(latents.read_latents("val", rows).x, features.x[rows][:, ::-1])
    np.testing.assert_array_equal(latents.read_margins("val", rows).x, margin.x[rows])
    assert latents.read_latents("val", rows).record_id.tolist() == features.record_id[rows].tolist()
    assert len(latents.read_latents("val", np.zeros(20, bool))) == 0


def test_another_latent_is_read_from_its_own_file() -> None:
    latent = samples(20, ("z0", "margin"))
    write_samples(paths.LATENT, "val", latent)
    assert latents.latent_columns("val") == ("z0",)
    np.testing.assert_array_equal(latents.read_latents("val").x, latent.x[:, :1])
    np.testing.assert_array_equal(joined([*latents.latent_groups("val")]).x, latent.x)


@pytest.mark.parametrize("left", [slice(1, None), slice(0, 14)])
def test_features_of_other_records_are_refused(left: slice) -> None:
    features, _ = stored()
    write_samples(paths.PROCESSED, "val", features.select(left))
    with pytest.raises(ArtifactError, match="val has other records than data/processed; run `dvc repro`"):
        list(latents.latent_groups("val"))


def test_columns_are_read_in_the_order_that_is_asked_for() -> None:
    features, _ = stored()
    found = read_samples(paths.PROCESSED, "val", columns=("b",))
    np.testing.assert_array_equal(found.x, features.x[:, 1:])
    assert read_samples(paths.PROCESSED, "val", columns=()).x.shape == (20, 0)
    np.testing.assert_array_equal(joined([*sample_groups(paths.PROCESSED, "val")]).x, features.x)
