"""Forms: made of what is stored, they say what the detector says; what is no such detector is refused."""

import inspect

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError, UnknownPluginError
from pipeline.base.registry import build
from pipeline.models.arrays import registry
from pipeline.models.arrays.parts import BLOCK, in_parts, scored_where_known
from pipeline.models.arrays.registry import FORMS
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.identity import Identity
from pipeline.models.encoders.losses.registry import LOSSES

F, N = 5, 300
OTHERS = {  # settings that the score depends on, beside the usual ones
    "knn": {"neighbours": 3, "reduce": "mean", "metric": "whitened"},
    "boosting": {"families": "each", "quantile": 0.9, "trees": 10},
    "ensemble": {"members": {"pca": {}, "peeled": {"detector": "knn", "settings": {"neighbours": 2}}}},
    "peeled": {"detector": "mahalanobis"},
    "ocsvm": {"kernel_map": "nystroem"},
}


def rows(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, F)) @ rng.normal(size=(F, F))).astype(np.float32)


def fitted(name, folds=0, **settings):
    x, families = torch.from_numpy(rows()), torch.arange(120) % 2 + 1
    attacks = torch.from_numpy(rows(120, 1) + np.float32(4))
    if folds:
        known = build(DETECTORS, name, features=F).trains_on == "all"
        some = attacks[: 120 * known], families[: 120 * known]
        return Folds.fitted(
            lambda: build(DETECTORS, name, features=F, **settings), x, torch.arange(N) % folds, *some, 7
        )
    model = build(DETECTORS, name, features=F, **settings)
    model.fit(torch.cat([x, attacks]), torch.cat([torch.zeros(N, dtype=torch.int64), families]))
    return model


def stored(model):
    return {name: np.ascontiguousarray(each.numpy()) for name, each in model.state_dict().items()}


def assert_same(form, model):
    new, reference = rows(50, 2), rows(50, 3)
    x, other = torch.from_numpy(new), torch.from_numpy(reference)
    for question in ("scores", "raw", "terms", "nearest"):
        mine, theirs = getattr(form, question)(new), getattr(model, question)(x)
        assert (mine is None) == (theirs is None)
        assert mine is None or np.array_equal(mine, theirs.numpy())
    np.testing.assert_array_equal(form.of_raw(form.raw(new)), model.of_raw(model.raw(x)).numpy())
    assert form.replaces_quickly == model.replaces_quickly
    np.testing.assert_array_equal(form.replaced(new, reference), model.replaced(x, other).numpy())
    assert form.scores(new[:0]).shape == (0,)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("folds", [0, 3])
def test_what_is_stored_says_what_the_detector_says(name, folds):
    model = fitted(name, folds)
    described = {"number": folds, "seed": 7} if folds else None
    assert_same(registry.detector(name, F, {}, stored(model), described), model)


@pytest.mark.parametrize("name", OTHERS)
def test_settings_that_a_score_depends_on_are_heeded(name):
    model = fitted(name, **OTHERS[name])
    assert_same(registry.detector(name, F, OTHERS[name], stored(model), None), model)


def test_every_detector_in_closed_form_has_a_form():
    assert {name for name, kind in DETECTORS.items() if issubclass(kind, ClosedForm)} == {*FORMS}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_knows_all_settings_of_its_detector_and_their_usual_values(name):
    theirs, mine = (inspect.signature(each).parameters for each in (DETECTORS[name], FORMS[name].of))
    scoring = {*mine} - {"arrays", "features", "search"}
    assert scoring | {*FORMS[name].fitting} == {*theirs} - {"features"}
    assert not scoring & {*FORMS[name].fitting}
    assert all(mine[each].default == theirs[each].default for each in scoring)


def test_changed_weights_change_what_a_detector_says():
    model, x = fitted("mahalanobis"), torch.from_numpy(rows(9, 2))
    before = model.score(x)
    model.mean += 1
    assert not torch.equal(model.score(x), before)
    model.mean -= 1
    model.load_state_dict(fitted("mahalanobis").state_dict())
    assert torch.equal(model.score(x), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("mean"), "the array 'mean' is absent"),
        (lambda arrays: arrays.update(mean=np.zeros(F + 1, np.float32)), r"'mean' has the shape \(6,\), wanted \(5\)"),
        (lambda arrays: arrays.update(mean=np.zeros(F, np.int64)), "'mean' must hold floats, not int64"),
        (lambda arrays: arrays.update(more=np.zeros(1, np.float32)), "arrays of no use to it: more"),
    ],
)
def test_arrays_of_another_detector_are_refused(change, message):
    arrays = stored(fitted("mahalanobis"))
    change(arrays)
    with pytest.raises((ConfigError, ValueError), match=message):
        registry.detector("mahalanobis", F, {}, arrays, None)


@pytest.mark.parametrize(
    ("name", "array", "value"),
    [
        ("knn", "sizes", np.array([1])),
        ("knn", "rows", np.array([0.5], np.float32)),
        ("boosting", "left", -1),
        ("boosting", "feature", F),
        ("isolation_forest", "split_feature", F),
    ],
)
def test_places_that_lead_nowhere_are_refused(name, array, value):
    arrays = stored(fitted(name))
    arrays[array] = value if isinstance(value, np.ndarray) else np.full_like(arrays[array], value)
    with pytest.raises(ConfigError, match=name):
        registry.detector(name, F, {}, arrays, None)


def test_settings_that_no_such_detector_has_are_refused():
    arrays = stored(fitted("knn"))
    with pytest.raises(ConfigError, match="unknown setting 'neighbors'"):
        registry.detector("knn", F, {"neighbors": 5}, arrays, None)
    with pytest.raises(ConfigError, match="given 'median'"):
        registry.detector("knn", F, {"reduce": "median"}, arrays, None)
    with pytest.raises(UnknownPluginError, match="'maf' is not known"):
        registry.detector("maf", F, {}, {}, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_margin_without_an_encoder_is_that_of_the_published_loss(dtype):
    encoder = Identity(F, build(LOSSES, "dccl"))
    x, y = torch.from_numpy(rows()), torch.arange(N) % 2
    encoder.centre(x, y)
    form = registry.encoder("identity", "dccl", F, stored(encoder))
    assert form(rows()) is not None and form.changes_nothing and form.latent == F
    np.testing.assert_array_equal(form.margin(rows()), encoder.margin(x).numpy())
    z = x.to(dtype)
    expected = encoder.latent_loss.margin_of(z, encoder._centroids(z))
    torch.testing.assert_close(encoder.margin(z), expected, rtol=1e-4, atol=1e-4)


def test_an_encoder_with_another_margin_has_no_form():
    with pytest.raises(UnknownPluginError, match="identity with the loss clad"):
        registry.encoder("identity", "clad", F, {})
    with pytest.raises(UnknownPluginError, match="residual_mlp"):
        registry.encoder("residual_mlp", "dccl", F, {})


@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 1])
def test_parts_have_one_shape_and_nothing_is_lost(n):
    sizes = []

    def doubled(x, y):
        sizes.append(len(x))
        return x + y

    x = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    np.testing.assert_array_equal(in_parts(doubled, x, x), 2 * x)
    assert {*sizes} == {BLOCK if n else 0}


def test_a_row_without_a_number_is_not_scored():
    x = rows(4)
    x[1, 2] = np.nan
    found = scored_where_known(lambda part: part.sum(1), x)
    np.testing.assert_array_equal(found, x.sum(1))
    assert np.isnan(scored_where_known(lambda part: part.sum(1), x[1:2])).all()
