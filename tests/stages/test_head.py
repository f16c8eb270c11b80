"""The shipped detector: a supervised head beside the densities, and that nothing of test records reaches it."""

import math

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_bytes
from pipeline.artifacts.latents import latent_groups
from pipeline.artifacts.models import encode_model, read_model
from pipeline.artifacts.samples import read_samples, write_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ConfigError
from pipeline.base.samples import joined
from pipeline.calibration.calibration import Calibration
from pipeline.datasets.labels import family
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.serving import bundle_parts
from pipeline.serving.bundle import Bundle
from pipeline.serving.families import OTHERS, Families
from pipeline.serving.manifest import HashedFolder
from tests.stages.conftest import shipped_settings

TRAINED = ("preprocess", "stage1", "stage2", "calibrate")
MODELS = (paths.FEATURES, paths.ENCODER, paths.DETECTOR, paths.HEAD, paths.THRESHOLDS)
TESTS = ("test_seen", "test_unseen")


@pytest.fixture
def shipped(project):
    """The project with the settings of params.yaml, its records ingested and judged sound."""
    for section in ("preprocess", "stage1", "stage2", "calibrate"):
        project.params[section] = shipped_settings()[section]
    project.run("ingest", "validate")
    project.set("preprocess.seed", 0)
    return project


def models():
    """The bytes of every model file."""
    files = [stem.with_suffix(kind) for stem in MODELS for kind in (".json", ".safetensors")]
    return {file.name: read_bytes(file) for file in files}


def test_scores_are_named_and_the_bundle_judges_as_the_stages_score(shipped):
    shipped.run(*TRAINED, "evaluate")
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    assert (tuple(calibration.surprisals), calibration.used) == (("margin", "detector", "head"), ("detector", "head"))
    bundle = Bundle.of_project()
    records = read_table(paths.RECORDS)
    order = {each: row for row, each in enumerate(records.column("record_id").to_pylist())}
    for split in TESTS:
        samples = read_samples(paths.SCORES, split)
        assert samples.columns == ("margin", "detector", "head")
        judged = bundle.predict(records.take([order[each] for each in samples.record_id.tolist()]))
        np.testing.assert_array_equal(np.stack([*judged.scores.values()], axis=1), samples.x)
    _know_their_families(bundle)


def _know_their_families(bundle):
    """An alert names the family of attacks that the trees of the head find likeliest."""
    train, families = read_samples(paths.PROCESSED, "train"), Families.of(bundle)
    attacks = train.select(~train.benign)
    own = np.array([family(name) for name in attacks.attack])
    names, counts = np.unique(own, return_counts=True)
    assert {*families.names} - {OTHERS} <= {*names}
    assert {*names[counts >= bundle.model.head.models[0].least]} <= {*families.names}
    said = families.probabilities(attacks.x)
    assert (said >= 0).all() and (said.sum(1) <= 1 + 1e-9).all()
    known = np.isin(own, families.names)
    assert (np.array(families.names)[said.argmax(1)] == own)[known].mean() > 0.95
    benign = families.probabilities(train.select(train.trusted).x)
    assert np.median(benign.sum(1)) < 0.1
    older = HashedFolder(bundle.sealed.about, {**bundle.sealed.files, **_without_families(bundle)})
    assert Families.of(Bundle.of_sealed(older, paths.DATA)) is None


def _without_families(bundle):
    about, weights = bundle_parts.decoded(paths.HEAD, bundle.sealed.files, "head")
    about.pop("families")
    return dict(zip(bundle_parts.file_names("head"), encode_model(about, weights), strict=True))


def test_features_pass_the_encoder_where_asked(shipped):
    shipped.set("stage1.encoder", "residual_mlp")
    shipped.set("stage1.fit.min_steps", 40)
    shipped.set("stage1.fit.epochs", 1)
    shipped.set("stage1.pass_features", True)
    shipped.run(*TRAINED)
    features = read_samples(paths.PROCESSED, "val").columns
    latent = joined([*latent_groups("val")]).columns
    assert latent[0] == "z0" and latent[-1] == "margin" and latent[-1 - len(features) : -1] == features
    x = read_samples(paths.PROCESSED, "val").x
    scores = read_samples(paths.SCORES, "val").x
    np.testing.assert_array_equal(Bundle.of_project().model.scores(x), scores)


def test_a_head_that_learnt_from_few_attacks_stands_beside_the_other_scores(shipped):
    shipped.run(*TRAINED)
    attacks = int(read_samples(paths.PROCESSED, "train").y.sum())
    said = {}
    for few in (0, attacks, attacks + 1):
        shipped.set("calibrate.few_attacks", few)
        shipped.run("calibrate")
        said[few] = Calibration.load(*read_model(paths.THRESHOLDS)).fusion
    assert said == {0: "fisher", attacks: "fisher", attacks + 1: "beside"}


@pytest.mark.parametrize("head", ["gmm", "mlp"])
def test_a_detector_that_is_no_head_is_refused(shipped, head):
    shipped.set("stage2.head", head)
    shipped.run("preprocess", "stage1")
    assert f"stage2.head: {head!r} is no detector that learns from seen attacks" in shipped.refusal(
        "stage2", ConfigError
    )


def test_one_model_does_not_count_twice(shipped):
    shipped.set("stage2.detector", "boosting")
    shipped.run("preprocess", "stage1")
    assert "'boosting' is stage2.detector already" in shipped.refusal("stage2", ConfigError)


def test_a_score_that_is_unknown_or_absent_is_refused(shipped):
    shipped.set("stage2.head", "none")
    shipped.run("preprocess", "stage1", "stage2", "calibrate")
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    assert calibration.used == ("detector",)
    shipped.set("calibrate.scores", ["detector", "haed"])
    assert "there is no 'haed' (did you mean 'head'?)" in shipped.refusal("calibrate", ConfigError)
    shipped.set("calibrate.scores", ["head"])
    assert "there are none, of margin, detector" in shipped.refusal("calibrate", ConfigError)


def test_no_test_record_reaches_a_fitted_number(shipped):
    shipped.run(*TRAINED)
    before = models()
    for split in TESTS:
        samples = read_samples(paths.PROCESSED, split)
        write_samples(paths.PROCESSED, split, samples.map(lambda x: 7 - 3 * x, samples.columns))
    shipped.run("stage1", "stage2", "calibrate")
    assert models() == before


def test_no_unseen_attack_reaches_a_fitted_number(shipped):
    shipped.run(*TRAINED)
    before = models()
    unseen = set(shipped.params["preprocess"]["unseen"])

    def change(columns):
        names = [name for name in FEATURE_NAMES if name in columns and name != "destination_port"]
        contents = list(zip(*(columns[name] for name in names), strict=True))
        # Copies follow the worst label among them: what only looks like an unseen attack is left out of train with it.
        seen = {content for content, name in zip(contents, columns["attack"], strict=True) if name not in unseen}
        rows = [row for row, name in enumerate(columns["attack"]) if name in unseen and contents[row] not in seen]
        assert len(rows) > 5
        for row in rows:
            for name in ("flow_duration", "total_fwd_packets", "flow_iat_mean", "fwd_packet_length_max"):
                columns[name][row] = columns[name][row] * 3 + 1
        for row in rows[:5]:
            columns["flow_bytes_per_s"][row] = math.inf

    shipped.doctor(change)
    shipped.run(*TRAINED)
    assert models() == before


def test_scales_come_from_benign_records_alone_where_asked(shipped):
    shipped.run("preprocess")
    train = read_samples(paths.PROCESSED, "train")
    benign = train.x[train.benign]
    spread = benign.std(axis=0)
    varied = spread > 0.5  # not nearly one value
    assert varied.any() and np.abs(np.median(benign[:, varied], axis=0)).max() < 1
    shipped.set("preprocess.features.fit_on", "train")
    before = read_bytes(paths.FEATURES.with_suffix(".safetensors"))
    shipped.run("preprocess")
    assert read_bytes(paths.FEATURES.with_suffix(".safetensors")) != before
