"""params.yaml with unknown keys, wrong types, values out of range, and misspelt plug-ins."""

from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.base.errors import ConfigError, UnknownPluginError
from pipeline.settings.base import Bounds
from pipeline.settings.sections import SECTIONS


def refused(project: Any, name: str, value: object) -> str:
    """The message with which the stage refuses one changed setting, before it reads any data."""
    project.set(name, value)
    stage = name.split(".", 1)[0]
    with pytest.raises(ConfigError) as caught:
        config.load(SECTIONS[stage])
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ingest.datset", "dataset"),
        ("validate.null_shar", "null_share"),
        ("preprocess.unsen", "unseen"),
        ("preprocess.shares.calibratoin", "calibration"),
        ("preprocess.features.scalling", "scaling"),
        ("stage1.fit.batchsize", "batch_size"),
        ("stage2.fit.learning_rte", "learning_rate"),
        ("calibrate.percentile_", "percentiles"),
        ("evaluate.treshold", "threshold"),
    ],
)
def test_an_unknown_key(project: Any, name: str, near: str) -> None:
    message = refused(project, name, 1)
    assert f"params.yaml: {name}: unknown key (did you mean '{near}'?); known: " in message
    assert len(message) < 500


def test_an_unknown_section(project: Any) -> None:
    project.params["stage_1"] = {}
    message = refused(project, "stage1.encoder", "identity")
    assert "params.yaml: unknown section 'stage_1' (did you mean 'stage1'?); known: ingest, validate" in message


def test_a_key_that_is_no_text(project: Any) -> None:
    project.params[1] = {}
    assert "params.yaml: unknown section 1" in refused(project, "stage1.encoder", "identity")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "stage1: [", "stage1: 7\n", "stage1:\n", b"stage1: \xff\n"])
def test_a_file_that_holds_no_sections(project: Any, text: str | bytes) -> None:
    config.PARAMS.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "params.yaml: " in project.refusal("stage1", ConfigError)


def test_an_absent_file_and_an_absent_section(project: Any) -> None:
    del project.params["stage2"]
    project.set("stage1.encoder", "identity")
    assert "params.yaml: section 'stage2' is missing" in project.refusal("stage2", ConfigError)
    config.PARAMS.unlink()
    assert "params.yaml: no such file" in project.refusal("stage1", ConfigError)


def test_an_absent_key(project: Any) -> None:
    del project.params["evaluate"]["threshold"]
    message = refused(project, "evaluate.latent_map_rows", 100)
    assert "params.yaml: evaluate.threshold: " in message
    assert "required" in message


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ingest.path", 3, "string"),
        ("ingest.max_rejected_share", "few", "number"),
        ("validate.open_vocabulary", "no", "boolean"),
        ("validate.null_share", True, "number"),
        ("preprocess.unseen", "bot", "tuple"),
        ("preprocess.seed", 1.5, "integer"),
        ("preprocess.shares", 0.2, "dictionary"),
        ("preprocess.features.drop", [1], "string"),
        ("stage1.fit.epochs", "10", "integer"),
        ("stage1.fit", [], "dictionary"),
        ("stage2.fit.learning_rate", None, "number"),
        ("calibrate.percentiles", 99, "tuple"),
        ("evaluate.threshold", 99, "string"),
    ],
)
def test_a_wrong_type(project: Any, name: str, value: object, allowed: str) -> None:
    message = refused(project, name, value)
    assert f"params.yaml: {name}" in message
    assert allowed in message
    assert f"given {value[0] if value == [1] else value!r}" in message


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ingest.max_rejected_share", 1.1, "less than or equal to 1"),
        ("validate.tolerance", -0.1, "greater than or equal to 0"),
        ("preprocess.seed", -1, "greater than or equal to 0"),
        ("preprocess.attempted", "maybe", "'exclude', 'benign' or 'attack'"),
        ("preprocess.features.scaling", "minmax", "'signed_log', 'unit' or 'quantile'"),
        ("preprocess.features.clip", 0.0, "greater than 0"),
        ("stage1.fit.batch_size", 0, "greater than or equal to 1"),
        ("stage1.fit.learning_rate", float("inf"), "finite"),
        ("stage1.fit.learning_rate", float("nan"), "finite"),
        ("stage2.fit.device", "gpu", "'auto', 'cpu' or 'cuda'"),
        ("stage2.fit.precision", "32", "'32-true'"),
        ("calibrate.percentiles", [], "at least 1 item"),
        ("calibrate.percentiles", [99.0, 100.0], "less than 100"),
        ("evaluate.latent_map_rows", 0, "greater than or equal to 10"),
    ],
)
def test_a_value_out_of_range(project: Any, name: str, value: object, allowed: str) -> None:
    message = refused(project, name, value)
    assert f"params.yaml: {name}" in message
    assert allowed in message
    assert "given " in message


@pytest.mark.parametrize(
    ("name", "value"), [("stage2.confidence.warm_up", 0), ("calibrate.scores", 3), ("preprocess.features.clip", "x")]
)
def test_a_setting_of_several_types_has_its_own_name_in_the_message(project: Any, name: str, value: object) -> None:
    message = refused(project, name, value)
    assert f"params.yaml: {name}: Input should be" in message
    assert "dictionary or instance of" not in refused(project, name.rpartition(".")[0], 3)


@pytest.mark.parametrize(
    ("bounds", "interval", "inside", "outside"),
    [
        (Bounds(ge=0, le=1), "[0, 1]", (0, 0.5, 1), (-0.1, 1.1)),
        (Bounds(gt=0, lt=1), "(0, 1)", (0.5,), (0, 1)),
        (Bounds(ge=1), "[1, inf)", (1, 10**9), (0,)),
        (Bounds(lt=2**32), "(-inf, 4294967296)", (-1, 0), (2**32,)),
    ],
)
def test_an_interval_says_what_it_holds(
    bounds: Bounds, interval: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    assert bounds.interval == interval
    assert all(bounds.hold(value) for value in inside)
    assert not any(bounds.hold(value) for value in outside)


def test_shares_that_do_not_sum_to_one(project: Any) -> None:
    message = refused(project, "preprocess.shares.train", 0.7)
    assert "params.yaml: preprocess.shares: the shares sum to 1.1, allowed is 1" in message


@pytest.mark.parametrize("split", ["train", "val", "calibration"])
def test_no_share_for_a_split_that_later_stages_need(project: Any, split: str) -> None:
    shares = project.params["preprocess"]["shares"]
    shares["test_seen"] += shares[split]
    message = refused(project, f"preprocess.shares.{split}", 0.0)
    assert "preprocess.shares: train, val and calibration need a share above 0" in message


def test_several_faults_at_once_are_all_named(project: Any) -> None:
    project.set("stage2.fit.epochs", 0)
    message = refused(project, "stage2.fit.seed", "x")
    assert "stage2.fit.epochs: " in message
    assert "stage2.fit.seed: " in message


@pytest.mark.parametrize(
    ("stage", "name", "given", "near"),
    [
        ("ingest", "ingest.dataset", "cicids2071", "cicids2017"),
        ("stage1", "stage1.encoder", "cnn_transfomer", "cnn_transformer"),
        ("stage1", "stage1.loss", "dcl", "dccl"),
        ("stage2", "stage2.detector", "mahalanobi", "mahalanobis"),
        ("stage2", "stage2.confidence.thresholds", "etv", "evt"),
        ("stage2", "stage2.confidence.rule", "hybird", "hybrid"),
        ("calibrate", "calibrate.fusion", "fischer", "fisher"),
        ("calibrate", "calibrate.thresholds", "percentil", "percentile"),
    ],
)
def test_a_misspelt_plugin(prepared: Any, stage: str, name: str, given: str, near: str) -> None:
    if "confidence" in name:
        prepared.set("stage2.detector", "radon")
    prepared.set(name, given)
    message = prepared.refusal(stage, UnknownPluginError)
    assert f"{name}: {given!r} is not known (did you mean {near!r}?); known: " in message


@pytest.mark.parametrize(
    ("stage", "name", "given", "near"),
    [
        ("preprocess", "preprocess.features.derive", ["bytes_per_pakcet"], "bytes_per_packet"),
        ("preprocess", "preprocess.features.drop", ["destinaton_port"], "destination_port"),
        ("preprocess", "preprocess.unseen", ["dos_slowlori"], "dos_slowloris"),
        ("preprocess", "preprocess.unseen", ["benign"], ""),
    ],
)
def test_a_misspelt_feature_or_attack(prepared: Any, stage: str, name: str, given: list[str], near: str) -> None:
    prepared.set(name, given)
    message = prepared.refusal(stage, ConfigError)
    assert f"{name}: {given[0]!r} " in message
    assert f"(did you mean {near!r}?)" in message or not near


@pytest.mark.parametrize(
    ("stage", "name", "value", "parts"),
    [
        ("ingest", "ingest.cicids2017.unknown_lables", "keep", ["cicids2017", "(did you mean 'unknown_labels'?)"]),
        ("ingest", "ingest.cicids2017.unknown_labels", "allow", ["'allow'", "'refuse' | 'keep'"]),
        ("stage1", "stage1.dccl.margn", 5.0, ["dccl", "'margn' (did you mean 'margin'?)"]),
        ("stage1", "stage1.dccl.margin", "wide", ["dccl.margin", "'wide'", "float"]),
        ("stage2", "stage2.mafs", {}, ["settings for 'mafs'", "(did you mean 'maf'?)"]),
        ("calibrate", "calibrate.percentile.low", 99.5, ["percentile", "low", "high"]),
    ],
)
def test_settings_that_a_plugin_does_not_take(
    prepared: Any, stage: str, name: str, value: object, parts: list[str]
) -> None:
    prepared.set(name, value)
    message = prepared.refusal(stage, ConfigError)
    for part in parts:
        assert part in message


def test_a_misspelt_threshold_of_evaluate(prepared: Any) -> None:
    prepared.set("evaluate.threshold", "p98")
    message = prepared.refusal("evaluate", ConfigError)
    assert "evaluate.threshold: 'p98' is not known (did you mean 'p99'?); known: " in message
    assert not Path("data/reports/metrics.json").exists()
