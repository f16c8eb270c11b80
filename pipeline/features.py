"""Records -> features: select, derive, fill, drop what is constant, scale. Fitted on train rows only.

The published setting of Chhetri, Thapa, Chen, "Latent Sculpting" (2025) is ``fill="zero"``, ``scaling="standard"`` with
``destination_port`` dropped and both derived columns: 71 features on CIC-IDS-2017.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pipeline.errors import ArtifactError, ConfigError, DataError, near_miss
from pipeline.samples import row_hash

Columns = Mapping[str, NDArray[np.float64]]  # column name -> (n,)
Fill = Literal["zero", "median", "indicator"]
Scaling = Literal["none", "standard", "signed_log", "quantile"]

QUANTILES = 1001  # knots of a quantile scaling
SAMPLE_ROWS = 100_000  # train rows at most that medians and quantiles are taken from


def _bytes_per_packet(columns: Columns) -> NDArray[np.float64]:
    return columns["total_length_fwd_packets"] / (columns["total_fwd_packets"] + 1e-6)


def _packets_per_second(columns: Columns) -> NDArray[np.float64]:
    return columns["total_fwd_packets"] / (columns["flow_duration"] / 1e6 + 1e-6)


# Both count forward packets only, as published.
DERIVED: dict[str, Callable[[Columns], NDArray[np.float64]]] = {
    "bytes_per_packet": _bytes_per_packet,
    "packets_per_second": _packets_per_second,
}


@dataclass(frozen=True)
class Recipe:
    """What is fixed before any row is seen.

    Attributes:
        drop: raw columns that no model may see.
        derive: names of ``DERIVED`` to add.
        fill: what stands for Infinity and NaN: 0 (as published), the median of the train rows, or 0 beside an
            indicator column that says so.
        drop_constant: whether columns without variance in the train rows are dropped.
        scaling: ``standard`` as published; ``signed_log`` is sign(x) log(1 + |x|), then standard; ``quantile`` maps the
            train distribution to a standard normal one.
        clip: largest absolute value of a scaled feature, None for no limit.
    """

    drop: tuple[str, ...] = ("destination_port",)
    derive: tuple[str, ...] = ("bytes_per_packet", "packets_per_second")
    fill: Fill = "zero"
    drop_constant: bool = True
    scaling: Scaling = "standard"
    clip: float | None = None

    def raw(self, available: Iterable[str]) -> tuple[str, ...]:
        """The raw columns that stay.

        Raises:
            ConfigError: a dropped or derived name is unknown.
        """
        available = tuple(available)
        for name in self.drop:
            if name not in available:
                raise ConfigError(f"preprocess.drop: {name!r} is no column{near_miss(name, available)}")
        for name in self.derive:
            if name not in DERIVED:
                raise ConfigError(
                    f"preprocess.derive: {name!r} is not known{near_miss(name, DERIVED)}; known: {list(DERIVED)}"
                )
        return tuple(name for name in available if name not in self.drop)


def content_hash(columns: Columns, recipe: Recipe) -> NDArray[np.uint64]:
    """(n,) hash of the raw values that a model sees: equal for records that it cannot tell apart."""
    return row_hash([columns[name] for name in recipe.raw(columns)])


class _ColumnFit:
    """What one train column amounts to: moments of its finite values, how many are not, and a sample of them."""

    def __init__(self, warp: Callable[[NDArray[np.float64]], NDArray[np.float64]], stride: int) -> None:
        self.warp, self.stride = warp, stride
        self.n, self.undefined, self.mean, self.squares = 0, 0, 0.0, 0.0
        self.low, self.high = np.inf, -np.inf
        self.sample: list[NDArray[np.float64]] = []

    def add(self, values: NDArray[np.float64]) -> None:
        finite = values[np.isfinite(values)]
        self.undefined += len(values) - len(finite)
        if self.stride:
            self.sample.append(finite[:: self.stride].copy())
        if len(finite):
            warped = self.warp(finite)
            self._merge(len(warped), float(warped.mean()), float(warped.var()) * len(warped))
            self.low, self.high = min(self.low, finite.min()), max(self.high, finite.max())

    def fill(self, value: float) -> None:
        """Count each undefined cell as ``value``."""
        if self.undefined:
            self._merge(self.undefined, float(self.warp(np.array([value]))[0]), 0.0)
            self.low, self.high = min(self.low, value), max(self.high, value)

    def _merge(self, n: int, mean: float, squares: float) -> None:
        # Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)
        delta, total = mean - self.mean, self.n + n
        self.squares += squares + delta * delta * self.n * n / total
        self.mean += delta * n / total
        self.n = total

    @property
    def median(self) -> float:
        return float(np.median(np.concatenate(self.sample))) if self.n else 0.0

    @property
    def scale(self) -> float:
        """Standard deviation; 1 where there is none, as for a constant column that is kept."""
        deviation = float(np.sqrt(self.squares / max(self.n, 1)))
        return deviation if deviation > 1e-12 * max(1.0, abs(self.mean)) else 1.0

    def knots(self, fill: float) -> NDArray[np.float64]:
        """(``QUANTILES``,) quantiles of the sample, its undefined cells filled."""
        sample = np.concatenate([*self.sample, np.full(self.undefined // max(self.stride, 1), fill)])
        return np.quantile(sample, np.linspace(0, 1, QUANTILES)) if len(sample) else np.zeros(QUANTILES)


@dataclass(frozen=True)
class Features:
    """The fitted transform.

    Attributes:
        recipe: what was fixed before.
        raw: names of the raw and derived columns that are read, (R,).
        columns: names of the features that come out, (F,): those of ``raw`` that vary, then the indicators.
        fill, mean, scale: (R,) each.
        knots: (R, ``QUANTILES``) of a quantile scaling, else (R, 0).
        dropped: constant columns that were dropped.
    """

    recipe: Recipe
    raw: tuple[str, ...]
    columns: tuple[str, ...]
    fill: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    knots: NDArray[np.float64]
    dropped: tuple[str, ...] = ()

    @classmethod
    def fit(cls, batches: Iterable[Columns], rows: int, recipe: Recipe) -> Self:
        """Fit on the train rows.

        Args:
            batches: the raw columns of train rows, some rows at a time.
            rows: how many train rows there are in all.
            recipe: what to make of them.

        Raises:
            DataError: there are no rows, or no column varies.
            ConfigError: the recipe names an unknown column.
        """
        sampled = recipe.scaling == "quantile" or recipe.fill == "median"
        stride = max(1, -(-rows // SAMPLE_ROWS)) if sampled else 0
        fits: dict[str, _ColumnFit] = {}
        for batch in batches:
            with np.errstate(all="ignore"):
                raw = _derived(batch, recipe)
            for name, values in raw.items():
                fits.setdefault(name, _ColumnFit(_warp(recipe), stride)).add(values)
        return cls._from_fits(fits, recipe)

    @classmethod
    def _from_fits(cls, fits: dict[str, _ColumnFit], recipe: Recipe) -> Self:
        if not fits or not any(fit.n + fit.undefined for fit in fits.values()):
            raise DataError("preprocess: there are no train rows to fit the features on")
        undefined = [name for name, fit in fits.items() if fit.undefined]
        fill = {name: fit.median if recipe.fill == "median" else 0.0 for name, fit in fits.items()}
        for name, fit in fits.items():
            fit.fill(fill[name])
        constant = tuple(name for name, fit in fits.items() if recipe.drop_constant and fit.low == fit.high)
        kept = {name: fit for name, fit in fits.items() if name not in constant}
        if not kept:
            raise DataError("preprocess: every column is constant in the train rows; there is nothing to learn from")
        knots = [fit.knots(fill[name]) if recipe.scaling == "quantile" else np.zeros(0) for name, fit in kept.items()]
        return cls(
            recipe,
            tuple(kept),
            (*kept, *(f"{name}_undefined" for name in undefined if recipe.fill == "indicator")),
            np.array([fill[name] for name in kept]),
            np.array([fit.mean for fit in kept.values()]),
            np.array([fit.scale for fit in kept.values()]),
            np.stack(knots),
            constant,
        )

    def map(self, columns: Columns) -> dict[str, NDArray[np.float32]]:
        """Feature name -> (n,) float32, for the raw columns of any rows.

        Raises:
            DataError: a raw column that the fit used is missing.
        """
        with np.errstate(all="ignore"):
            raw = _derived(columns, self.recipe)
        missing = [name for name in self.raw if name not in raw]
        if missing:
            raise DataError(f"features: column {missing[0]!r} is missing{near_miss(missing[0], raw)}")
        features = {name: self._scaled(position, raw[name]) for position, name in enumerate(self.raw)}
        for name in self.columns[len(self.raw) :]:
            features[name] = (~np.isfinite(raw[name.removesuffix("_undefined")])).astype(np.float32)
        return features

    def _scaled(self, position: int, values: NDArray[np.float64]) -> NDArray[np.float32]:
        finite = np.isfinite(values)
        filled = values if finite.all() else np.where(finite, values, self.fill[position])
        if self.recipe.scaling == "quantile":
            scaled = _normal_scores(filled, self.knots[position])
        elif self.recipe.scaling == "none":
            scaled = filled
        else:
            scaled = (_warp(self.recipe)(filled) - self.mean[position]) / self.scale[position]
        limit = self.recipe.clip
        return (scaled if limit is None else np.clip(scaled, -limit, limit)).astype(np.float32)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """What ``load`` needs: a part for JSON and a part for arrays."""
        recipe = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self.recipe).items()}
        names = {"raw": list(self.raw), "columns": list(self.columns), "dropped": list(self.dropped)}
        arrays = {"fill": self.fill, "mean": self.mean, "scale": self.scale, "knots": self.knots}
        return {"recipe": recipe, **names}, arrays

    @classmethod
    def load(cls, names: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> Self:
        """The transform that ``state`` described.

        Raises:
            ArtifactError: the two parts do not fit each other.
        """
        try:
            recipe = Recipe(**{k: tuple(v) if isinstance(v, list) else v for k, v in names["recipe"].items()})
            columns = (tuple(names["raw"]), tuple(names["columns"]))
            loaded = cls(recipe, *columns, **{k: arrays[k] for k in ("fill", "mean", "scale", "knots")})
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"the stored feature transform is incomplete: {error}; run preprocess again") from error
        if any(len(part) != len(loaded.raw) for part in (loaded.fill, loaded.mean, loaded.scale, loaded.knots)):
            raise ArtifactError("the stored feature transform has arrays of another length than its names")
        return replace(loaded, dropped=tuple(names["dropped"]))


def _derived(columns: Columns, recipe: Recipe) -> dict[str, NDArray[np.float64]]:
    return {name: columns[name] for name in recipe.raw(columns)} | {
        name: DERIVED[name](columns) for name in recipe.derive
    }


def _warp(recipe: Recipe) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return _signed_log if recipe.scaling == "signed_log" else _same


def _same(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values


def _signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.copysign(np.log1p(np.abs(values)), values)


def _normal_scores(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks among the knots, mapped to a standard normal; a run of equal knots gives the middle of its ranks."""
    ranks = np.linspace(0, 1, len(knots))
    upper = np.interp(values, knots, ranks)
    lower = -np.interp(-values, -knots[::-1], -ranks[::-1])
    limit = 0.5 / len(knots)
    return ndtri(np.clip((upper + lower) / 2, limit, 1 - limit))  # type: ignore[no-any-return]
