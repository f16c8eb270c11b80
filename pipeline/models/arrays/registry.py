"""Forms by the name of their detector, made of stored arrays."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import UnknownPluginError
from pipeline.base.registry import build
from pipeline.models.arrays.base import Form
from pipeline.models.arrays.boosting import BoostingForm
from pipeline.models.arrays.ensemble import ROBUST, USUAL, EnsembleForm, Members
from pipeline.models.arrays.folds import FoldsForm
from pipeline.models.arrays.gmm import GMMForm
from pipeline.models.arrays.identity import IdentityForm
from pipeline.models.arrays.isolation_forest import IsolationForestForm
from pipeline.models.arrays.knn import KNNForm
from pipeline.models.arrays.mahalanobis import MahalanobisForm
from pipeline.models.arrays.ocsvm import OCSVMForm
from pipeline.models.arrays.pca import PCAForm
from pipeline.models.arrays.peeled import PeeledForm
from pipeline.models.arrays.stored import Stored

Weights = Mapping[str, NDArray[Any]]


class Kind(NamedTuple):
    """How a form is made.

    Attributes:
        of: its arrays, the number of features and settings to the form.
        fitting: settings of the detector that only its fit depends on.
    """

    of: Callable[..., Form]
    fitting: tuple[str, ...]


def _ensemble(arrays: Stored, features: int, *, members: Members | None = None) -> Form:
    return _with_members(arrays, features, USUAL if members is None else members)


def _robust(arrays: Stored, features: int, *, members: Members | None = None) -> Form:
    return _with_members(arrays, features, ROBUST if members is None else members)


def _with_members(arrays: Stored, features: int, members: Members) -> Form:
    made = {name: form(name, arrays.part(f"members.{name}"), features, own) for name, own in members.items()}
    return EnsembleForm.of(arrays, made)


def _peeled(arrays: Stored, features: int, *, detector: str = "gmm", settings: Mapping[str, Any] | None = None) -> Form:
    return PeeledForm.of(arrays, form(detector, arrays.part("inner"), features, settings or {}))


FORMS: Final[Mapping[str, Kind]] = {
    "mahalanobis": Kind(MahalanobisForm.of, ("shrinkage",)),
    "gmm": Kind(GMMForm.of, ("components", "regularisation", "max_rows", "seed")),
    "ensemble": Kind(_ensemble, ("parts", "seed")),
    "robust": Kind(_robust, ("parts", "seed")),
    "isolation_forest": Kind(IsolationForestForm.of, ("trees", "samples", "max_rows", "seed")),
    "ocsvm": Kind(OCSVMForm.of, ("kernel_map", "nu", "gamma", "components", "max_rows", "seed")),
    "knn": Kind(KNNForm.of, ("references", "seed")),
    "pca": Kind(PCAForm.of, ("variance",)),
    "peeled": Kind(_peeled, ("peel", "seed")),
    "boosting": Kind(
        BoostingForm.of,
        ("trees", "leaves", "learning_rate", "share", "l2", "parts", "max_rows", "attack_share", "sample", "seed"),
    ),
}


def form(name: str, arrays: Stored, features: int, settings: Mapping[str, Any]) -> Form:
    """The form of a fitted detector; ``settings`` are those of the detector.

    Raises:
        UnknownPluginError: the detector has no form.
        ConfigError: the settings or the arrays are not those of such a detector.
    """
    fitting = FORMS[name].fitting if name in FORMS else ()
    scoring = {key: value for key, value in settings.items() if key not in fitting}
    made: Form = build(
        {each: kind.of for each, kind in FORMS.items()}, name, arrays=arrays, features=features, **scoring
    )
    return made


def detector(
    name: str, features: int, settings: Mapping[str, Any], weights: Weights, folds: Mapping[str, Any] | None
) -> Form:
    """The form of a stored detector.

    Args:
        name: of the detector.
        features: Z.
        settings: of the detector.
        weights: all that is stored of it.
        folds: their ``number`` and the ``seed`` of the hash; None where it is not fitted in folds.

    Raises:
        UnknownPluginError: the detector has no form.
        ConfigError: the settings or the arrays are not those of such a detector.
        ValueError: there are more arrays.
    """
    arrays = _stored(weights)
    if folds is None:
        found = form(name, arrays, features, settings)
    else:
        found = FoldsForm.of(arrays, lambda part: form(name, part, features, settings), folds["number"], folds["seed"])
    arrays.refuse_others()
    return found


def encoder(name: str, loss: str, features: int, weights: Weights) -> IdentityForm:
    """The form of a stored encoder.

    Raises:
        UnknownPluginError: the encoder has no form, or its margin has none.
        ValueError: the arrays are not those of such an encoder.
    """
    if (name, loss) != ("identity", "dccl"):
        raise UnknownPluginError(f"the encoder {name} with the loss {loss} has no form")
    arrays = _stored(weights)
    found = IdentityForm.of(arrays, features)
    arrays.refuse_others()
    return found


def _stored(weights: Weights) -> Stored:
    """The arrays of a model; floats as float32, as its tensors are."""
    return Stored({name: each.astype(np.float32) if each.dtype.kind == "f" else each for name, each in weights.items()})
