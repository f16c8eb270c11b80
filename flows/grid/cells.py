"""The cells of a grid: every design, set of unseen attacks, configuration and seed, each with all of its settings.

A cell has the name of its DVC experiment, which ends with a digest of all that decides its figures: the settings of the
stages, the records and the code. So what is done is found by its name, and a cell whose settings change is another one.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.grid.settings import BENCHMARK, Benchmark, Design
from flows.runtime import presets
from pipeline import config
from pipeline.base.errors import ConfigError, near_miss
from pipeline.config import PRESET
from pipeline.datasets.labels import family
from pipeline.datasets.vocabulary import VOCABULARY
from pipeline.preprocessing.splits import check_attacks
from pipeline.settings import renamed
from pipeline.settings.sections import SECTIONS

Params = dict[str, Any]
SEEDS = ("preprocess.seed", "stage1.fit.seed", "stage2.fit.seed")
OWN = ("ingest.path", "preprocess.unseen", *SEEDS)  # what the grid sets itself
DIGITS = 10
OF_A_DESIGN = (
    "ingest.",
    "validate.",
    *(f"preprocess.{key}" for key in ("unseen", "test_days", "attempted", "duplicates", "contamination", "shares")),
)


@dataclass(frozen=True)
class Cell:
    """One experiment of the grid.

    Attributes:
        design: the name of its design.
        configuration: the name of its configuration.
        seed: of the splits and of both fits.
        left_out: the family that is unseen, in a design that leaves out one after the other; else "".
        unseen: the attacks that nothing is fitted on.
        params: the settings of every stage, by section.
        digest: of all that decides its figures.
    """

    design: str
    configuration: str
    seed: int
    left_out: str
    unseen: tuple[str, ...]
    params: Params
    digest: str

    @property
    def name(self) -> str:
        """The name of its experiment."""
        parts = (self.design, self.left_out, self.configuration, str(self.seed), self.digest[:DIGITS])
        return "-".join(part for part in parts if part)


@dataclass(frozen=True)
class Grid:
    """What a grid is made of.

    Attributes:
        settings: what benchmark.yaml says.
        params: all sections of params.yaml.
        designs: the names of those that are asked for.
        configurations: the names of those that are asked for.
        seeds: those that are asked for.
    """

    settings: Benchmark
    params: Params
    designs: tuple[str, ...]
    configurations: tuple[str, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(
        cls,
        params: Params,
        settings: Benchmark,
        designs: Sequence[str] = (),
        configurations: Sequence[str] = (),
        seeds: Sequence[int] = (),
    ) -> "Grid":
        """The grid that ``settings`` describes over ``params``; no names mean all of them.

        Raises:
            ConfigError: a name or setting is not known, or a setting is one that the grid sets itself.
        """
        chosen = cls(
            settings,
            params,
            _chosen("design", designs, settings.designs),
            _chosen("configuration", configurations, settings.configurations),
            tuple(dict.fromkeys(seeds or settings.seeds)),
        )
        for name in chosen.designs:
            _check(chosen.start(name), f"benchmark.designs.{name}")
            for other in chosen.configurations:
                chosen.settled(name, other)
        return chosen

    def start(self, design: str) -> Params:
        """The settings of the stages under a design."""
        return overridden(self.params, self.settings.designs[design].overrides, f"benchmark.designs.{design}")

    def settled(self, design: str, configuration: str) -> Params:
        """The settings of the stages under a design and a configuration.

        Raises:
            ConfigError: one of them is not known, or a stage would refuse it.
        """
        where = f"benchmark.configurations.{configuration}"
        own = self.settings.configurations[configuration]
        params = overridden(self.start(design), _expanded(own), where)
        params[PRESET] = own.get(PRESET, params.get(PRESET, presets.NONE))
        _check(params, where)
        named = [f"p{percent:g}" for percent in params["calibrate"]["percentiles"]]
        if self.settings.threshold not in named:
            raise ConfigError(
                f"benchmark.threshold: {self.settings.threshold!r} is none of calibrate.percentiles under {where}"
                f"{near_miss(self.settings.threshold, named)}; there are {', '.join(named)}"
            )
        return params

    def cells(
        self, design: str, path: Path, families: Mapping[str, str], digest: Callable[[Params], str]
    ) -> Iterator[Cell]:
        """The cells of a design.

        Args:
            design: its name.
            path: where its records lie.
            families: the attacks that the records have, each with its family.
            digest: gives the digest of all that decides the figures of settings.

        Raises:
            ConfigError: the records have none of its attacks, or a name is not known.
        """
        for left_out, unseen in unseen_sets(design, self.settings.designs[design], families).items():
            for seed in self.seeds:
                for configuration in self.configurations:
                    own = {"ingest.path": str(path), "preprocess.unseen": list(unseen), **dict.fromkeys(SEEDS, seed)}
                    params = _set(self.settled(design, configuration), own)
                    _check(params, f"seed {seed} of the grid")
                    yield Cell(design, configuration, seed, left_out, unseen, params, digest(params))


def unseen_sets(name: str, design: Design, families: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The attacks of each set that a design has nothing fitted on, by the family that is left out, or "".

    Args:
        name: of the design.
        design: what it says.
        families: the attacks that the records have, each with its family.

    Raises:
        ConfigError: a name is not known, or the records have none of these attacks.
    """
    where = f"benchmark.designs.{name}"
    check_attacks(f"{where}.unseen", design.unseen, {*VOCABULARY, *families})
    known = {*map(family, VOCABULARY), *families.values()} - {"benign"}
    for each in design.leave_out:
        _require(f"{where}.leave_out: {each!r} is no family", each, known)
    if design.unseen:
        sets = {"": design.unseen} if set(design.unseen) & set(families) else {}
    else:
        members = {each: tuple(sorted(a for a in families if families[a] == each)) for each in design.leave_out}
        sets = {each: attacks for each, attacks in members.items() if attacks}
    if not sets:
        asked = ", ".join(design.unseen or design.leave_out)
        raise ConfigError(f"{where}: the records have no unseen attack: none of {asked}; they have {_listed(families)}")
    return sets


def identity(params: Params, records: str, code: str) -> str:
    """A digest of all that decides figures: settings, records and code; not of where the records lie."""
    decisive = {name: params[name] for name in config.STAGES}
    decisive["ingest"] = {**decisive["ingest"], "path": records}
    return hashlib.sha256(json.dumps([decisive, code], sort_keys=True).encode()).hexdigest()


def ingest_identity(params: Params, records: str, code: str) -> str:
    """A digest of all that decides what ingest makes of records."""
    settings = {**params["ingest"], "path": records}
    return hashlib.sha256(json.dumps([settings, code], sort_keys=True).encode()).hexdigest()


def overridden(params: Mapping[str, Any], overrides: Mapping[str, Any], where: str) -> Params:
    """A copy of ``params`` in which each dotted key of ``overrides`` has its value.

    Raises:
        ConfigError: a key names no section of a stage, or one that the grid sets itself.
    """
    overrides = renamed.dotted(overrides, where)
    for key in overrides:
        section, _, rest = key.partition(".")
        if section not in config.STAGES or not rest:
            known = ", ".join(config.STAGES)
            raise ConfigError(
                f"{where}: {key!r} is no setting of a stage{near_miss(section, config.STAGES)}; "
                f"a section and a key are expected, as in stage2.detector; sections: {known}"
            )
        if key in OWN:
            raise ConfigError(f"{where}: {key} is set by the grid itself, from the design, the seed and the path")
    return _set(params, overrides)


def _expanded(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the settings of its preset, which its own ones overrule.

    Records and splits are the design's, so that every configuration of a design is judged on the same ones.
    """
    own = {key: value for key, value in configuration.items() if key != PRESET}
    if PRESET not in configuration:
        return own
    settings = presets.read(str(configuration[PRESET]))
    return {key: value for key, value in settings.items() if not key.startswith(OF_A_DESIGN)} | own


def _set(params: Mapping[str, Any], overrides: Mapping[str, Any]) -> Params:
    made = copy.deepcopy(dict(params))
    for key, value in overrides.items():
        *folders, last = key.split(".")
        place: Any = made
        for folder in folders:
            if not isinstance(place.get(folder), dict):
                place[folder] = {}
            place = place[folder]
        place[last] = value
    return made


def _check(params: Params, where: str) -> None:
    for shape in SECTIONS.values():
        config.build(shape, params, where)


def _chosen(kind: str, asked: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    for name in asked:
        _require(f"{BENCHMARK}: there is no {kind} {name!r}", name, known)
    return tuple(dict.fromkeys(asked or known))


def _require(message: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ConfigError(f"{message}{near_miss(name, known)}; known: {_listed(known)}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
