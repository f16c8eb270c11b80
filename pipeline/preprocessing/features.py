"""Turns records into features: select, derive, fill, drop constant columns, scale, encode words.

Everything is fitted on train rows only.

The published setting of Chhetri, Thapa, Chen, "Latent Sculpting" (2025) is ``fill="zero"``, ``scaling="standard"`` with
``destination_port`` dropped and two derived columns: 71 features on CIC-IDS-2017.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.base.engine import mapped
from pipeline.base.errors import ArtifactError, ConfigError, DataError, near_miss
from pipeline.preprocessing.categorical import Categorical, CategoricalFit, feature_names, require_few
from pipeline.preprocessing.columns import QUANTILES, ColumnFit, normal_scores, warp_of
from pipeline.preprocessing.derived import Columns, needs_of, value_of
from pipeline.preprocessing.frequency import FREQUENCY, Frequency, FrequencyFit
from pipeline.preprocessing.recipe import Recipe

SAMPLE_ROWS = 100_000  # train rows at most of which medians and quantiles are computed
_UNDEFINED = "_undefined"
_LARGEST = float(np.finfo(np.float32).max)


class Unread(Protocol):
    """Some rows that are read where they are worked on."""

    def __len__(self) -> int:
        """How many rows."""
        ...

    def columns(self) -> Columns:
        """Their raw columns."""
        ...


@dataclass(frozen=True)
class Features:
    """The fitted transform.

    Attributes:
        recipe: which features to make.
        raw: (R,) names of the numeric columns, raw or derived, that features are made of.
        columns: (F,) names of the features: those of ``raw``, then indicators, rarities and encoded words.
        fill, mean, scale: (R,) each.
        knots: (R, ``QUANTILES``) for quantile scaling, else (R, 0).
        dropped: constant columns that were dropped.
        words: categorical column -> its words.
        rarities: raw column -> how rare its values are.
    """

    recipe: Recipe
    raw: tuple[str, ...]
    columns: tuple[str, ...]
    fill: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    knots: NDArray[np.float64]
    dropped: tuple[str, ...] = ()
    words: Mapping[str, Categorical] = field(default_factory=dict)
    rarities: Mapping[str, Frequency] = field(default_factory=dict)

    @classmethod
    def fit(cls, batches: Iterable[Columns | Unread], rows: int, recipe: Recipe) -> Self:
        """Fit on the train rows.

        Args:
            batches: the raw columns of train rows, some rows at a time.
            rows: how many train rows there are in all.
            recipe: which features to make.

        Raises:
            DataError: there are no rows, no column varies, or the words of the train rows need too many columns.
            ConfigError: the recipe names an unknown column.
        """
        stride = -(-rows // SAMPLE_ROWS) if recipe.scaling == "quantile" or recipe.fill == "median" else rows
        stride = max(1, stride)
        fits: dict[str, Any] = {}
        for part in mapped(_fit, _numbered(batches), shared=(stride, recipe)):
            for name, fit in part.items():
                if name in fits:
                    fits[name].add(fit)
                else:
                    fits[name] = fit
        if not any(fit.rows for fit in fits.values()):
            raise DataError("preprocess: there are no train rows to fit the features on")
        words = {name: Categorical.of(fit.counts) for name, fit in fits.items() if isinstance(fit, CategoricalFit)}
        rare = {name: fits.pop(name + FREQUENCY) for name in recipe.rarity}
        rarities = {name: Frequency.of(fit.counts, fit.rows) for name, fit in rare.items()}
        numbers = {name: fit for name, fit in fits.items() if name not in words}
        return cls._from_fits(numbers, words, rarities, recipe)

    @classmethod
    def _from_fits(
        cls, fits: dict[str, ColumnFit], words: dict[str, Categorical], rarities: dict[str, Frequency], recipe: Recipe
    ) -> Self:
        undefined = [name for name, fit in fits.items() if fit.is_partly_undefined]
        fill = {name: fit.median if recipe.fill == "median" else 0.0 for name, fit in fits.items()}
        for name, fit in fits.items():
            fit.fill(fill[name])
        constant = tuple(name for name, fit in fits.items() if recipe.drop_constant and fit.low == fit.high)
        constant += tuple(
            name for name, column in words.items() if recipe.drop_constant and not column.varies(recipe.categorical)
        )
        kept = {name: fit for name, fit in fits.items() if name not in constant}
        words = {name: column for name, column in words.items() if name not in constant}
        if not kept and not words:
            raise DataError("preprocess: every column is constant in the train rows; there is nothing to learn from")
        require_few(words, recipe.categorical)
        knots = [fit.knots(fill[name]) if recipe.scaling == "quantile" else np.zeros(0) for name, fit in kept.items()]
        scales = [fit.origin_and_scale(recipe.scaling) for fit in kept.values()]
        return cls(
            recipe,
            tuple(kept),
            (
                *kept,
                *(name + _UNDEFINED for name in undefined if recipe.fill == "indicator"),
                *(name + FREQUENCY for name in rarities),
                *feature_names(words, recipe.categorical),
            ),
            np.array([fill[name] for name in kept]),
            np.array([origin for origin, _ in scales]),
            np.array([scale for _, scale in scales]),
            np.stack(knots) if knots else np.zeros((0, 0)),
            constant,
            words,
            rarities,
        )

    def scaled_as(self, other: Self) -> Self:
        """These columns and words with the fills, scales, quantiles and rarities of ``other``.

        ``other`` must have dropped no column.
        """
        at = [other.raw.index(name) for name in self.raw]
        taken = {name: getattr(other, name)[at] for name in ("fill", "mean", "scale", "knots")}
        return replace(self, **taken, rarities=other.rarities)

    def map(self, columns: Columns) -> dict[str, NDArray[np.float32]]:
        """The features of any rows: feature name -> (n,) float32.

        Raises:
            DataError: a raw column that the fit used is missing.
        """
        for name in self.reads:
            if name not in columns:
                raise DataError(f"features: column {name!r} is missing{near_miss(name, columns)}")
        with np.errstate(over="ignore"):
            features = {name: self._scaled(position, value_of(name, columns)) for position, name in enumerate(self.raw)}
        for name in self._indicators:
            features[name] = (~np.isfinite(value_of(name.removesuffix(_UNDEFINED), columns))).astype(np.float32)
        for name, rarity in self.rarities.items():
            features[name + FREQUENCY] = np.clip(rarity.encode(columns[name]), -self._limit, self._limit).astype(
                np.float32
            )
        standard = self.recipe.scaling != "none"
        for name, words in self.words.items():
            features |= words.encode(name, columns[name], self.recipe.categorical, standard, self._limit)
        return features

    def unknown_words(self, columns: Columns) -> dict[str, Counter[str]]:
        """Categorical column -> each word of its rows that the train rows do not have, and how many rows have it."""
        return {name: words.unknown(columns[name]) for name, words in self.words.items()}

    @property
    def reads(self) -> tuple[str, ...]:
        """The raw columns that ``map`` needs."""
        sources = (
            *self.raw,
            *(name.removesuffix(_UNDEFINED) for name in self._indicators),
            *self.rarities,
            *self.words,
        )
        return tuple(dict.fromkeys(need for name in sources for need in needs_of(name)))

    def typical(self) -> dict[str, float | str]:
        """A typical raw record of the train rows, to serve as an example."""
        numbers = {name: self._middle(position) for position, name in enumerate(self.raw)}
        words = {name: column.commonest for name, column in self.words.items()}
        return {name: words[name] if name in words else numbers.get(name, 0.0) for name in self.reads}

    def _middle(self, position: int) -> float:
        if self.recipe.scaling == "quantile":
            return float(self.knots[position][QUANTILES // 2])
        mean = float(self.mean[position])
        return float(np.copysign(np.expm1(abs(mean)), mean)) if self.recipe.scaling == "signed_log" else mean

    @property
    def _indicators(self) -> tuple[str, ...]:
        encoded = len(self.rarities) + len(feature_names(self.words, self.recipe.categorical))
        return self.columns[len(self.raw) : len(self.columns) - encoded]

    def _scaled(self, position: int, values: NDArray[np.float64]) -> NDArray[np.float32]:
        finite = np.isfinite(values)
        filled = values if finite.all() else np.where(finite, values, self.fill[position])
        if self.recipe.scaling == "quantile":
            scaled = normal_scores(filled, self.knots[position])
            if self.recipe.clip is None:  # none of them is large
                return scaled.astype(np.float32)
        elif self.recipe.scaling == "none":
            scaled = filled
        else:
            scaled = warp_of(self.recipe)(filled) - self.mean[position]
            scaled /= self.scale[position]
        return np.clip(scaled, -self._limit, self._limit).astype(np.float32)

    @property
    def _limit(self) -> float:
        """The largest absolute value of a feature."""
        return self.recipe.clip or _LARGEST

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """What ``load`` needs: a part to store as JSON and a part to store as arrays."""
        recipe = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self.recipe).items()}
        names = {"raw": list(self.raw), "columns": list(self.columns), "dropped": list(self.dropped)}
        words = {
            name: {"words": list(column.words), "counts": list(column.counts), "rows": column.rows}
            for name, column in self.words.items()
        }
        arrays = {"fill": self.fill, "mean": self.mean, "scale": self.scale, "knots": self.knots}
        for name, rarity in self.rarities.items():
            arrays |= {
                f"{name}{FREQUENCY}.values": rarity.values,
                f"{name}{FREQUENCY}.counts": rarity.counts,
            }
        rows = {name: rarity.rows for name, rarity in self.rarities.items()}
        return {"recipe": recipe, **names, "words": words, "rarities": rows}, arrays

    @classmethod
    def load(cls, names: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> Self:
        """The transform that ``state`` describes.

        Raises:
            ArtifactError: the two parts do not fit together.
        """
        try:
            stated = {"categorical": "one_hot", "rarity": (), **names["recipe"]}  # an older transform states neither
            recipe: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stated.items()}
            parts: dict[str, Any] = {key: arrays[key] for key in ("fill", "mean", "scale", "knots")}
            parts |= {key: tuple(names[key]) for key in ("raw", "columns", "dropped")}
            words = {
                name: Categorical(tuple(column["words"]), tuple(column["counts"]), column["rows"])
                for name, column in names["words"].items()
            }
            rarities = {
                name: Frequency(arrays[f"{name}{FREQUENCY}.values"], arrays[f"{name}{FREQUENCY}.counts"], rows)
                for name, rows in names.get("rarities", {}).items()  # an older transform has none
            }
            loaded = cls(Recipe(**recipe), **parts, words=words, rarities=rarities)
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"the stored feature transform is incomplete: {error}; run preprocess again") from error
        encoded = feature_names(words, loaded.recipe.categorical)
        if loaded.columns[len(loaded.columns) - len(encoded) :] != encoded:
            raise ArtifactError(
                "the stored feature transform has words that do not fit its columns; run preprocess again"
            )
        if any(len(part) != len(loaded.raw) for part in (loaded.fill, loaded.mean, loaded.scale, loaded.knots)):
            raise ArtifactError("the stored feature transform has arrays of another length than its names")
        return loaded


def _numbered(batches: Iterable[Columns | Unread]) -> Iterator[tuple[int, Columns | Unread]]:
    """Each batch, with the number of its first row before it."""
    start = 0
    for batch in batches:
        yield start, batch
        start += len(next(iter(batch.values()))) if isinstance(batch, Mapping) else len(batch)


def _fit(
    numbered: tuple[int, Columns | Unread], stride: int, recipe: Recipe
) -> dict[str, ColumnFit | CategoricalFit | FrequencyFit]:
    start, rows = numbered
    batch = rows if isinstance(rows, Mapping) else rows.columns()
    sampled = slice(-start % stride, None, stride)
    values = {name: value_of(name, batch) for name in (*recipe.raw(batch), *recipe.derive)}
    with np.errstate(over="ignore"):  # of squares beyond 1e308
        fits: dict[str, ColumnFit | CategoricalFit | FrequencyFit] = {
            name: CategoricalFit(value) if value.dtype == object else ColumnFit(value, sampled, warp_of(recipe))
            for name, value in values.items()
        }
    return fits | {name + FREQUENCY: FrequencyFit(_numbers(name, batch)) for name in recipe.rarity}


def _numbers(name: str, batch: Columns) -> NDArray[np.float64]:
    if batch[name].dtype == object:
        remedy = "words are counted by preprocess.features.categorical: count"
        raise ConfigError(f"preprocess.features.rarity: column {name!r} holds words, not numbers; {remedy}")
    return batch[name]
