"""The map of the latent for evaluate: test records of seen and unseen attacks, by principal components or by UMAP."""

import importlib.util
import re
from collections.abc import Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pipeline.artifacts.latents import read_latents, read_margins
from pipeline.base.errors import ConfigError
from pipeline.base.samples import joined
from pipeline.reporting.figures.latent import latent_map as draw_latent_map
from pipeline.settings.evaluate import Evaluate

SPLITS = ("test_seen", "test_unseen")


def require(settings: Evaluate) -> None:
    """Refuse UMAP where it is not installed.

    Raises:
        ConfigError: it is asked for, and absent.
    """
    if settings.latent_map == "umap" and importlib.util.find_spec("umap") is None:
        raise ConfigError(
            "evaluate.latent_map: 'umap' needs the package umap-learn, which is not installed; "
            "run `pip install '.[umap]' --constraint constraints.txt`, or set pca"
        )


def latent_map(settings: Evaluate, subtitle: str) -> Figure:
    """The figure, of at most ``latent_map_rows`` records of both test splits."""
    tests = {split: read_margins(split) for split in SPLITS}
    y, attack = (np.concatenate([getattr(samples, name) for samples in tests.values()]) for name in ("y", "attack"))
    unseen = sorted(set(tests["test_unseen"].attack[~tests["test_unseen"].benign]))
    z = partial(_latents, {split: len(samples) for split, samples in tests.items()})
    drawn = partial(draw_latent_map, z, attack, y, unseen, settings.latent_map_rows, subtitle=f"{subtitle}, test")
    return drawn(project=_umap, method="UMAP") if settings.latent_map == "umap" else drawn()


def _latents(sizes: Mapping[str, int], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """(k, Z) latents of the rows of both splits that are asked for, (k,); nothing else of them is kept in memory."""
    wanted = np.zeros(sum(sizes.values()), dtype=bool)
    wanted[rows] = True
    masks = np.split(wanted, np.cumsum([*sizes.values()])[:-1])
    read = joined([read_latents(split, mask) for split, mask in zip(sizes, masks, strict=True)])
    # features may stand behind the latent
    latent = [place for place, name in enumerate(read.columns) if re.fullmatch(r"z\d+", name)]
    return read.x[np.searchsorted(np.flatnonzero(wanted), rows)][:, latent]


def _umap(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) layout of (n, Z) points, the same each time.

    Source: McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction"
    (2018).
    """
    from umap import UMAP

    neighbours = min(15, len(z) - 1)
    if neighbours < 2:
        return np.zeros((len(z), 2))
    start = "random" if len(z) <= 16 else "spectral"
    with threadpool_limits():  # UMAP sets the number of threads of the process, and leaves it so
        layout = UMAP(n_neighbors=neighbours, init=start, random_state=0, n_jobs=1).fit_transform(z)
    return np.asarray(layout, dtype=np.float64)
