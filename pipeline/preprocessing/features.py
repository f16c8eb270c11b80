"""Records -> features: select, derive, fill, drop what is constant, scale, encode words. Fitted on train rows only.

The published setting of Chhetri, Thapa, Chen, "Latent Sculpting" (2025) is ``fill="zero"``, ``scaling="standard"`` with
``destination_port`` dropped and two derived columns: 71 features on CIC-IDS-2017.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from pipeline.base.errors import ArtifactError, ConfigError, DataError, near_miss
from pipeline.base.parallel import in_order
from pipeline.base.samples import row_hash
from pipeline.preprocessing.categorical import Categorical, WordFit, feature_names, require_few
from pipeline.preprocessing.frequency import RARITY, Frequency, RarityFit
from pipeline.settings.preprocess import RecipeSettings, Scaling

Columns = Mapping[str, NDArray[Any]]  # column name -> (n,) float64, or str objects where it is categorical, "" for none
_Warp = Callable[[NDArray[np.float64]], NDArray[np.float64]]

QUANTILES = 1001  # knots of a quantile scaling
SAMPLE_ROWS = 100_000  # train rows at most that medians and quantiles are taken from
_UNDEFINED = "_undefined"
_LARGEST = float(np.finfo(np.float32).max)


class Derived(NamedTuple):
    """A feature that is computed from raw columns.

    Attributes:
        needs: the columns.
        formula: (n,) each -> (n,).
    """

    needs: tuple[str, ...]
    formula: Callable[..., NDArray[np.float64]]


_Floats = NDArray[np.float64]


def _log_ratio(a: _Floats, b: _Floats) -> _Floats:
    """log((a + 1) / (b + 1)): by how much one exceeds the other, at any size; negative ones count as 0."""
    ratio: _Floats = np.log((np.maximum(a, 0) + 1) / (np.maximum(b, 0) + 1))
    return ratio


def _per_packet(value: _Floats, fwd: _Floats, bwd: _Floats) -> _Floats:
    return value / (fwd + bwd + 1)


# What a size says grows with the length of a conversation; what a ratio says stays: how the two sides share the work,
# how regular the pauses are, what a packet looks like. Tools differ in that, whatever the volume of what they do.
_RATIOS: dict[str, Derived] = {
    f"{a}_over_{b}": Derived((a, b), _log_ratio)
    for a, b in (
        ("total_fwd_packets", "total_bwd_packets"),
        ("total_length_fwd_packets", "total_length_bwd_packets"),
        ("total_length_fwd_packets", "total_fwd_packets"),
        ("total_length_bwd_packets", "total_bwd_packets"),
        ("fwd_header_length", "total_fwd_packets"),
        ("bwd_header_length", "total_bwd_packets"),
        ("fwd_data_packets", "total_fwd_packets"),
        ("flow_iat_max", "flow_duration"),
        ("flow_iat_std", "flow_iat_mean"),
        ("fwd_iat_max", "fwd_iat_total"),
        ("bwd_iat_max", "bwd_iat_total"),
        ("fwd_iat_total", "flow_duration"),
        ("bwd_iat_total", "flow_duration"),
        ("fwd_iat_mean", "bwd_iat_mean"),
        ("fwd_packet_length_std", "fwd_packet_length_mean"),
        ("bwd_packet_length_std", "bwd_packet_length_mean"),
        ("packet_length_std", "packet_length_mean"),
        ("fwd_packet_length_max", "bwd_packet_length_max"),
        ("active_mean", "flow_duration"),
        ("idle_mean", "flow_duration"),
    )
} | {
    f"{flag}_per_packet": Derived((flag, "total_fwd_packets", "total_bwd_packets"), _per_packet)
    for flag in (
        "fin_flag_count",
        "syn_flag_count",
        "rst_flag_count",
        "psh_flag_count",
        "ack_flag_count",
        "urg_flag_count",
        "fwd_psh_flags",
    )
}

GROUPS: dict[str, tuple[str, ...]] = {"ratios": tuple(_RATIOS)}
"""Names that stand for several derived features."""

# The first two count forward packets only, as published.
DERIVED: dict[str, Derived] = {
    "bytes_per_packet": Derived(
        ("total_length_fwd_packets", "total_fwd_packets"), lambda length, packets: length / (packets + 1e-6)
    ),
    "packets_per_second": Derived(
        ("total_fwd_packets", "flow_duration"), lambda packets, duration: packets / (duration / 1e6 + 1e-6)
    ),
    **_RATIOS,
}


@dataclass(frozen=True)
class Recipe(RecipeSettings):
    """The settings with every group of derived features as its names, and what follows for given columns."""

    def __post_init__(self) -> None:
        names = tuple(each for name in self.derive for each in GROUPS.get(name, (name,)))
        object.__setattr__(self, "derive", tuple(dict.fromkeys(names)))

    @classmethod
    def of(cls, settings: RecipeSettings) -> Self:
        """The recipe that a section of settings holds."""
        return cls(**{each.name: getattr(settings, each.name) for each in fields(cls)})

    def within(self, available: Iterable[str], known: Collection[str]) -> tuple[Self, tuple[str, ...]]:
        """The same recipe for records that have no more than the columns ``available``, and the names passed over.

        A dropped column that they lack, or one whose rarity is asked for, is passed over if some data set has it, that
        is, if it is ``known``; a derived one if a column that it needs is absent.

        Raises:
            ConfigError: a dropped name is neither available nor known.
        """
        here = set(available)
        for setting, names in (("drop", self.drop), ("rarity", self.rarity)):
            for name in names:
                _require_column(name, {*here, *known}, setting)
        rarity = tuple(name for name in self.rarity if name in here)
        drop = tuple(name for name in self.drop if name in here)
        derive = tuple(name for name in self.derive if name not in DERIVED or here.issuperset(DERIVED[name].needs))
        asked = (*self.drop, *self.derive, *(name + RARITY for name in self.rarity))
        over = tuple(name for name in asked if name not in {*drop, *derive, *(name + RARITY for name in rarity)})
        return replace(self, drop=drop, derive=derive, rarity=rarity), over

    def raw(self, available: Iterable[str]) -> tuple[str, ...]:
        """The raw columns that stay.

        Raises:
            ConfigError: a dropped or derived name is unknown.
            DataError: the records lack a column that a derived one needs.
        """
        available = tuple(available)
        for name in set(DERIVED).intersection(available):
            raise DataError(f"column {name!r} of the records bears the name of a derived feature; rename it")
        for name in self.drop:
            _require_column(name, available)
        for name in self.derive:
            if name not in DERIVED:
                names = [*GROUPS, *DERIVED]
                known = f"{near_miss(name, names)}; known: {', '.join(names)}"
                raise ConfigError(f"preprocess.features.derive: {name!r} is not known{known}")
            for need in set(DERIVED[name].needs).difference(available):
                remedy = "take it out of preprocess.features.derive"
                raise DataError(f"{name!r} needs the column {need!r}, which the records lack; {remedy}")
        return tuple(name for name in available if name not in self.drop)

    def reads(self, available: Iterable[str]) -> tuple[str, ...]:
        """The raw columns that features are made of: those that stay, and what derived ones need beside them."""
        kept = self.raw(available)
        return tuple(dict.fromkeys([*kept, *(need for name in self.derive for need in _needs(name))]))


def _require_column(name: str, known: Collection[str], setting: str = "drop") -> None:
    if name not in known:
        raise ConfigError(
            f"preprocess.features.{setting}: {name!r} is no column of the records{near_miss(name, known)}"
        )


def content_hash(columns: Columns, recipe: Recipe) -> NDArray[np.uint64]:
    """(n,) hash of the raw values that a model sees: equal for records that it cannot tell apart."""
    return row_hash(_hashable(columns[name]) for name in recipe.reads(columns))


def _hashable(values: NDArray[Any]) -> NDArray[Any]:
    return pd.util.hash_array(values) if values.dtype == object else values


class _ColumnFit:
    """What some rows of one column amount to: moments of its finite values, how many are not, and a sample of rows."""

    def __init__(self, values: NDArray[np.float64], sampled: slice, warp: _Warp) -> None:
        finite = _finite(values)
        self.warp = warp
        self.n, self.undefined = len(finite), len(values) - len(finite)
        self.mean, self.squares = 0.0, 0.0
        self.low, self.high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
        self.sample = [values[sampled].copy()]
        if len(finite):
            warped = warp(finite)
            self.mean = float(warped.mean())
            self.squares = float(np.square(warped - self.mean).sum())  # no BLAS: its threads would fight ours

    def add(self, other: "_ColumnFit") -> None:
        """Count the rows of ``other`` too."""
        self.undefined += other.undefined
        self.sample += other.sample
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._merge(other.n, other.mean, other.squares)

    def fill(self, value: float) -> None:
        """Count each undefined cell as ``value``."""
        if self.undefined:
            self._merge(self.undefined, float(self.warp(np.array([value]))[0]), 0.0)
            self.low, self.high = min(self.low, value), max(self.high, value)

    def _merge(self, n: int, mean: float, squares: float) -> None:
        # Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)
        delta, total = mean - self.mean, self.n + n
        if n:
            self.squares += squares + delta * delta * self.n * n / total
            self.mean += delta * n / total
            self.n = total

    @property
    def rows(self) -> int:
        return self.n + self.undefined

    @property
    def is_partly_undefined(self) -> bool:
        return 0 < self.undefined < self.n + self.undefined

    @property
    def median(self) -> float:
        sample = _finite(np.concatenate(self.sample))
        return float(np.median(sample)) if len(sample) else 0.0

    @property
    def scale(self) -> float:
        """Standard deviation; 1 where rounding errors could make it up, as for a constant column that is kept."""
        variance, eps = self.squares / self.n, np.finfo(np.float64).eps
        # The bound of scikit-learn's StandardScaler on the error of a variance.
        return float(np.sqrt(variance)) if variance > self.n * eps * variance + (self.n * self.mean * eps) ** 2 else 1.0

    def origin_and_scale(self, scaling: Scaling) -> tuple[float, float]:
        """What is taken off a warped value, and what it is then divided by."""
        if scaling != "unit":
            return self.mean, self.scale
        low, high = self.warp(np.array([self.low, self.high]))
        return float(low), float(high - low) or 1.0

    def knots(self, fill: float) -> NDArray[np.float64]:
        """(``QUANTILES``,) quantiles of the sample, its undefined cells filled."""
        sample = np.concatenate(self.sample)
        return np.quantile(np.where(np.isfinite(sample), sample, fill), np.linspace(0, 1, QUANTILES))


@dataclass(frozen=True)
class Features:
    """The fitted transform.

    Attributes:
        recipe: what was fixed before.
        raw: names of the raw and derived columns of numbers that are read, (R,).
        columns: names of the features that come out, (F,): those of ``raw`` that vary, the indicators, the rarities,
            then what the categorical columns become.
        fill, mean, scale: (R,) each.
        knots: (R, ``QUANTILES``) of a quantile scaling, else (R, 0).
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
    def fit(cls, batches: Iterable[Columns], rows: int, recipe: Recipe) -> Self:
        """Fit on the train rows.

        Args:
            batches: the raw columns of train rows, some rows at a time.
            rows: how many train rows there are in all.
            recipe: what to make of them.

        Raises:
            DataError: there are no rows, no column varies, or the words of the train rows need too many columns.
            ConfigError: the recipe names an unknown column.
        """
        stride = -(-rows // SAMPLE_ROWS) if recipe.scaling == "quantile" or recipe.fill == "median" else rows
        stride = max(1, stride)
        fits: dict[str, Any] = {}
        for part in in_order(lambda batch: _fit(*batch, stride, recipe), _numbered(batches)):
            for name, fit in part.items():
                if name in fits:
                    fits[name].add(fit)
                else:
                    fits[name] = fit
        if not any(fit.rows for fit in fits.values()):
            raise DataError("preprocess: there are no train rows to fit the features on")
        words = {name: Categorical.of(fit.counts) for name, fit in fits.items() if isinstance(fit, WordFit)}
        rare = {name: fits.pop(name + RARITY) for name in recipe.rarity}
        rarities = {name: Frequency.of(fit.counts, fit.rows) for name, fit in rare.items()}
        numbers = {name: fit for name, fit in fits.items() if name not in words}
        return cls._from_fits(numbers, words, rarities, recipe)

    @classmethod
    def _from_fits(
        cls, fits: dict[str, _ColumnFit], words: dict[str, Categorical], rarities: dict[str, Frequency], recipe: Recipe
    ) -> Self:
        undefined = [name for name, fit in fits.items() if fit.is_partly_undefined]
        fill = {name: fit.median if recipe.fill == "median" else 0.0 for name, fit in fits.items()}
        for name, fit in fits.items():
            fit.fill(fill[name])
        constant = tuple(name for name, fit in fits.items() if recipe.drop_constant and fit.low == fit.high)
        constant += tuple(
            name for name, seen in words.items() if recipe.drop_constant and not seen.varies(recipe.categorical)
        )
        kept = {name: fit for name, fit in fits.items() if name not in constant}
        words = {name: seen for name, seen in words.items() if name not in constant}
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
                *(name + RARITY for name in rarities),
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
        """The same columns and words with fills, scales, quantiles, rarities of ``other``, which dropped no column."""
        at = [other.raw.index(name) for name in self.raw]
        taken = {name: getattr(other, name)[at] for name in ("fill", "mean", "scale", "knots")}
        return replace(self, **taken, rarities=other.rarities)

    def map(self, columns: Columns) -> dict[str, NDArray[np.float32]]:
        """Feature name -> (n,) float32, for the raw columns of any rows.

        Raises:
            DataError: a raw column that the fit used is missing.
        """
        for name in self.reads:
            if name not in columns:
                raise DataError(f"features: column {name!r} is missing{near_miss(name, columns)}")
        with np.errstate(over="ignore"):
            features = {name: self._scaled(position, _value(name, columns)) for position, name in enumerate(self.raw)}
        for name in self._indicators:
            features[name] = (~np.isfinite(_value(name.removesuffix(_UNDEFINED), columns))).astype(np.float32)
        for name, rarity in self.rarities.items():
            features[name + RARITY] = np.clip(rarity.encode(columns[name]), -self._limit, self._limit).astype(
                np.float32
            )
        standard = self.recipe.scaling != "none"
        for name, words in self.words.items():
            features |= words.encode(name, columns[name], self.recipe.categorical, standard, self._limit)
        return features

    @property
    def reads(self) -> tuple[str, ...]:
        """The raw columns that ``map`` needs."""
        made = (
            *self.raw,
            *(name.removesuffix(_UNDEFINED) for name in self._indicators),
            *self.rarities,
            *self.words,
        )
        return tuple(dict.fromkeys(need for name in made for need in _needs(name)))

    def typical(self) -> dict[str, float | str]:
        """A raw record as the train rows have it in the middle: what an example may look like."""
        numbers = {name: self._middle(position) for position, name in enumerate(self.raw)}
        words = {
            name: max(zip(seen.counts, seen.words, strict=True), default=(0, ""))[1]
            for name, seen in self.words.items()
        }
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
            scaled = _normal_scores(filled, self.knots[position])
        elif self.recipe.scaling == "none":
            scaled = filled
        else:
            scaled = _warp(self.recipe)(filled) - self.mean[position]
            scaled /= self.scale[position]
        return np.clip(scaled, -self._limit, self._limit).astype(np.float32)

    @property
    def _limit(self) -> float:
        """The largest absolute value of a feature."""
        return self.recipe.clip or _LARGEST

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """What ``load`` needs: a part for JSON and a part for arrays."""
        recipe = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self.recipe).items()}
        names = {"raw": list(self.raw), "columns": list(self.columns), "dropped": list(self.dropped)}
        words = {
            name: {"words": list(seen.words), "counts": list(seen.counts), "rows": seen.rows}
            for name, seen in self.words.items()
        }
        arrays = {"fill": self.fill, "mean": self.mean, "scale": self.scale, "knots": self.knots}
        for name, rarity in self.rarities.items():
            arrays |= {f"{name}{RARITY}.values": rarity.values, f"{name}{RARITY}.counts": rarity.counts}
        rows = {name: rarity.rows for name, rarity in self.rarities.items()}
        return {"recipe": recipe, **names, "words": words, "rarities": rows}, arrays

    @classmethod
    def load(cls, names: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> Self:
        """The transform that ``state`` described.

        Raises:
            ArtifactError: the two parts do not fit each other.
        """
        try:
            stated = {"categorical": "one_hot", "rarity": (), **names["recipe"]}  # an older transform states neither
            recipe: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stated.items()}
            parts: dict[str, Any] = {key: arrays[key] for key in ("fill", "mean", "scale", "knots")}
            parts |= {key: tuple(names[key]) for key in ("raw", "columns", "dropped")}
            words = {
                name: Categorical(tuple(seen["words"]), tuple(seen["counts"]), seen["rows"])
                for name, seen in names["words"].items()
            }
            rarities = {
                name: Frequency(arrays[f"{name}{RARITY}.values"], arrays[f"{name}{RARITY}.counts"], rows)
                for name, rows in names.get("rarities", {}).items()  # an older transform knows none
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


def _numbered(batches: Iterable[Columns]) -> Iterator[tuple[int, Columns]]:
    """Each batch behind the number of its first row."""
    start = 0
    for batch in batches:
        yield start, batch
        start += len(next(iter(batch.values())))


def _fit(start: int, batch: Columns, stride: int, recipe: Recipe) -> dict[str, _ColumnFit | WordFit | RarityFit]:
    sampled = slice(-start % stride, None, stride)
    values = {name: _value(name, batch) for name in (*recipe.raw(batch), *recipe.derive)}
    with np.errstate(over="ignore"):  # of squares beyond 1e308
        fits: dict[str, _ColumnFit | WordFit | RarityFit] = {
            name: WordFit(value) if value.dtype == object else _ColumnFit(value, sampled, _warp(recipe))
            for name, value in values.items()
        }
    return fits | {name + RARITY: RarityFit(_numbers(name, batch)) for name in recipe.rarity}


def _numbers(name: str, batch: Columns) -> NDArray[np.float64]:
    if batch[name].dtype == object:
        remedy = "words are counted by preprocess.features.categorical: count"
        raise ConfigError(f"preprocess.features.rarity: column {name!r} holds words, not numbers; {remedy}")
    return batch[name]


def _needs(name: str) -> tuple[str, ...]:
    return DERIVED[name].needs if name in DERIVED else (name,)


def _value(name: str, columns: Columns) -> NDArray[Any]:
    if name not in DERIVED:
        return columns[name]
    with np.errstate(all="ignore"):  # a duration of -1 us gives Infinity, to be filled like that of the extractor
        return DERIVED[name].formula(*(columns[need] for need in DERIVED[name].needs))


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = np.isfinite(values)
    return values if finite.all() else values[finite]


def _warp(recipe: Recipe) -> _Warp:
    return _signed_log if recipe.scaling in ("signed_log", "unit") else _same


def _same(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values


def _signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.copysign(np.log1p(np.abs(values)), values)


def _normal_scores(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks among the knots, mapped to a standard normal; a run of equal knots gives the middle of its ranks."""
    ranks = np.linspace(0, 1, len(knots))
    upper = np.interp(values, knots, ranks)
    lower = -np.interp(-values, -knots[::-1], -ranks[::-1])
    limit = 0.5 / len(knots)  # beyond the outermost knots nothing is known
    return ndtri(np.clip((upper + lower) / 2, limit, 1 - limit))
