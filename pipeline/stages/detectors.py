"""The detector and the head of stage 2: built from the settings, and stored."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from pipeline.artifacts import paths
from pipeline.artifacts.models import write_model
from pipeline.base.registry import build
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.registry import DETECTORS
from pipeline.settings.stage2 import Stage2

PLACES = {"detector": paths.DETECTOR, "head": paths.HEAD}


def builder(settings: Stage2, name: str, role: str, features: int) -> Callable[[], Detector]:
    """What gives a detector that is not fitted yet."""
    return partial(build, DETECTORS, name, f"stage2.{role}", features=features, **plugin(settings, name))


def plugin(settings: Stage2, name: str) -> dict[str, Any]:
    """The settings of a detector; a member of the ensemble has those of its own section, unless it says otherwise."""
    own = settings.settings(name, DETECTORS)
    members = own.get("members")
    if not isinstance(members, Mapping) or not all(isinstance(each, Mapping) for each in members.values()):
        return own
    sections = {member: settings.settings(member, DETECTORS) for member in members}
    return own | {"members": {member: sections[member] | given for member, given in members.items()}}


def keep(
    settings: Stage2,
    model: Detector,
    role: str,
    columns: tuple[str, ...],
    families: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Store a fitted model; ``families`` of attacks that it has learnt, with how many rows it had of each."""
    name = settings.detector if role == "detector" else settings.head
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    learnt = {"families": dict(families)} if families else {}
    write_model(PLACES[role], described(settings, name, model, columns) | learnt, weights)


def described(settings: Stage2, name: str, model: Detector, columns: Sequence[str]) -> dict[str, Any]:
    """What a fitted model is: all but its weights."""
    description = {"detector": name, "settings": plugin(settings, name), "columns": list(columns)}
    if isinstance(model, Folds):
        description["folds"] = {"number": len(model.models), "seed": model.seed}
    return description


def keep_no_head() -> None:
    """Store that there is no head."""
    write_model(paths.HEAD, {"detector": "none"}, {})
