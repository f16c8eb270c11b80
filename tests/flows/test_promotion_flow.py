"""Every outcome of a promotion on small closed-form models; the registry is the interface alone, held in memory."""

import contextlib
import contextvars
import errno
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from flows import promotion
from flows.reports import decisions
from flows.runtime import servers
from pipeline import config, tracking
from pipeline.artifacts import paths, tables
from pipeline.artifacts.files import append_line, read_json, read_lines, write_json
from pipeline.artifacts.models import write_model
from pipeline.artifacts.samples import write_samples
from pipeline.artifacts.tables import TableWriter, read_table, row_groups
from pipeline.base.errors import ArtifactError, ConfigError, ConflictError
from pipeline.base.registry import build
from pipeline.base.samples import Samples
from pipeline.calibration.calibration import Calibration
from pipeline.datasets.base import record_schema
from pipeline.datasets.schema import Column
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.recipe import Recipe
from pipeline.preprocessing.splits import SPLITS
from pipeline.serving import canaries, heldout, registry
from pipeline.serving.bundle import Bundle
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.trust import signing, statements
from pipeline.serving.version import Version
from pipeline.settings.promotion import Rules

COLUMNS = ("alpha", "beta", "gamma", "delta")
# Records of each split: benign, hulk (seen), bot and slowloris (both unseen)
SIZES = {
    "train": (600, 80, 0, 0),
    "val": (100, 20, 0, 0),
    "calibration": (1000, 0, 0, 0),
    "test_seen": (900, 150, 0, 0),
    "test_unseen": (900, 0, 150, 20),
}
ATTACKS = ("benign", "dos_hulk", "bot", "dos_slowloris")
FAMILIES = {"benign": "benign", "dos_hulk": "dos", "bot": "bot", "dos_slowloris": "dos"}
RECIPE = Recipe((), (), "zero", True, "standard", None, "one_hot", ())
SETTINGS = {"rounds": 200, "min_benign": 300, "min_unseen": 30, "fpr_margin": 0.02, "recall_margin": 0.15}


class World:
    """The records of a project and their splits, in the working folder."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.attack = np.concatenate([np.repeat(np.array(ATTACKS, object), size) for size in SIZES.values()])
        self.split = np.repeat(list(SIZES), [sum(size) for size in SIZES.values()])
        self.y = (self.attack != "benign").astype(np.int8)
        n = self.y.size
        self.ids = random.permutation(n).astype(np.uint64) * 7
        self.x = random.standard_normal((n, len(COLUMNS))) + 2.2 * self.y[:, None]
        self.write_records(COLUMNS)
        for split in SPLITS:
            write_samples(paths.PROCESSED, split, self.samples(split))
        write_json(paths.SOURCE, {"dataset": "toy", "synthetic": True})

    def samples(self, split):
        rows = self.split == split
        n = int(rows.sum())
        who = (self.ids[rows], self.y[rows], self.attack[rows], np.ones(n, np.float32), np.ones(n, bool))
        return Samples(*who, self.x[rows].astype(np.float32), COLUMNS)

    def write_records(self, columns, attempted=False):
        """The table of records in another order than the splits, in several row groups."""
        order = np.argsort(self.ids)
        schema = record_schema(tuple(Column(name, categorical=False) for name in columns))
        known = {
            "record_id": self.ids[order],
            "y": self.y[order],
            "attack": pa.array(self.attack[order].tolist()).dictionary_encode(),
            "family": pa.array([FAMILIES[name] for name in self.attack[order]]).dictionary_encode(),
            "attempted": np.full(len(order), attempted),
            **{name: self.x[order, i] for i, name in enumerate(COLUMNS)},
        }
        arrays = [
            pa.array(known[field.name]).cast(field.type) if field.name in known else pa.nulls(len(order), field.type)
            for field in schema
        ]
        with TableWriter(paths.RECORDS, schema) as writer:
            writer.write(pa.Table.from_arrays(arrays, schema=schema))

    def bundle(self, folder, columns=COLUMNS, percentile=99.0, fitted_on=SPLITS[:3], silent=False):
        """A model that sees some columns; its threshold p99 may be at another percentile, or where no score comes."""
        rows = {split: self.split == split for split in SPLITS}
        raw = {name: self.x[:, COLUMNS.index(name)] for name in columns}
        train = {name: values[rows["train"]] for name, values in raw.items()}
        features = Features.fit([train], int(rows["train"].sum()), RECIPE)
        x = torch.from_numpy(np.stack(list(features.map(raw).values()), axis=1))
        y, fitted = torch.from_numpy(self.y), torch.from_numpy(rows["train"])
        encoder = build(ENCODERS, "identity", features=len(columns), loss=build(LOSSES, "dccl"))
        encoder.initialise(x[fitted], y[fitted])
        encoder.centre(x[fitted], y[fitted])
        detector = build(DETECTORS, "mahalanobis", features=len(columns))
        detector.fit(x[fitted & (y == 0)])
        benign = torch.from_numpy(rows["calibration"])
        scores = [each(x[benign]).detach().numpy() for each in (encoder.margin, detector.score)]
        calibration = Calibration.fit(*scores, "detector", [percentile])
        named = {"p99": 1e9 if silent else calibration.thresholds[f"p{percentile:g}"]}
        calibration = replace(calibration, whole=replace(calibration.whole, thresholds=named))
        names = list(features.columns)
        about = {"encoder": "identity", "settings": {}, "loss": "dccl", "loss_settings": {}, "columns": names}
        write_model(paths.FEATURES, *features.state())
        write_model(paths.ENCODER, about, _weights(encoder))
        about = {"detector": "mahalanobis", "settings": {}, "columns": names}
        write_model(paths.DETECTOR, about, _weights(detector))
        write_model(paths.HEAD, {"detector": "none"}, {})
        write_model(paths.THRESHOLDS, *calibration.state())
        bundle = Bundle.of_project()
        if set(fitted_on) != set(SPLITS[:3]):
            bundle = bundle.with_calibration(calibration, self.ids[np.isin(self.split, list(fitted_on))])
        bundle.save(folder)
        return bundle


def _weights(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


class Registry:
    """What ``pipeline.tracking`` promises of versions and aliases, in memory."""

    def __init__(self, folder):
        self.folder, self.versions, self.aliases, self.notes, self.metrics = folder, {}, {}, [], {}

    def add(self, bundle):
        number = len(self.versions) + 1
        bundle.save(self.folder / str(number))
        tags = {statements.SIGNATURE: signing.model("flowsculpt", bundle.digest, "", f"run{number}", {})}
        self.versions[number] = Version(number, f"run{number}", bundle.digest, tags, ())
        self.aliases["candidate"] = number
        return number

    def find_version(self, which):
        return self.versions.get(self.aliases.get(which, which))

    def fetch(self, version):
        return self.folder / str(version.number)

    def promote(self, candidate, champion):
        before = self.aliases.get("champion")
        if before != (champion.number if champion else None):
            raise ConflictError(f"version {before} became the champion meanwhile")
        self.aliases |= {"champion": candidate.number} | ({"previous": before} if before else {})
        return self.signed(candidate.number)

    def rollback(self):
        self.aliases |= {"champion": self.aliases["previous"], "previous": self.aliases["champion"]}
        return self.signed(self.champion)

    def signed(self, number):
        """The version, with the signed decision that made it serve."""
        now = self.versions[number]
        tags = {statements.PROMOTION: signing.promotion(now, self.versions.values())}
        self.versions[number] = replace(now, tags={**now.tags, **tags})
        return self.versions[number]

    def note(self, version, tags, files, metrics=None):
        self.notes.append((version.number, tags, files))
        self.metrics |= metrics or {}
        now = self.versions[version.number]
        self.versions[version.number] = replace(now, tags={**now.tags, **tags})

    @property
    def champion(self):
        return self.aliases.get("champion")


def models(root, asked, **source):
    """The world in a folder, and a model of it for each name; ``source`` is added to what is known of its records."""
    with contextlib.chdir(root):
        world = World()
        write_json(paths.SOURCE, read_json(paths.SOURCE) | source)
        bundles = {name: world.bundle(root / name, **how) for name, how in asked.items()}
    return SimpleNamespace(root=root, world=world, **bundles)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The world, and models of it: good, its twin that sees the columns in another way, and a worse one."""
    asked = {
        "good": {},
        "equal": {"percentile": 98.9},
        "worse": {"columns": ("alpha",)},
        "noisy": {"percentile": 94.0},
        "silent": {"silent": True},
        "greedy": {"percentile": 98.8, "fitted_on": ("test_unseen",)},
        "curious": {"percentile": 98.7, "fitted_on": ("test_seen",)},
    }
    return models(tmp_path_factory.mktemp("world"), asked)


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """The world in a folder of its own."""
    for name in ("interim", "processed"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(made.root / "data" / name)
    params = yaml.safe_load(config.PARAMS.resolve().read_text())
    params["promotion"] |= SETTINGS
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", tracking.PARENT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def project(folder, monkeypatch):
    """An empty registry."""
    made = Registry(folder / "registry")
    for name in ("find_version", "fetch", "promote", "rollback", "note"):
        monkeypatch.setattr(registry, name, getattr(made, name))
    return made


def _log():
    return read_lines(paths.PROMOTIONS)


def _served(project, made, *names):
    """A registry in which the first named model is the champion, and the last one the candidate."""
    for name in names:
        project.add(getattr(made, name))
        if project.champion is None:
            assert promotion.promote().kind == "promoted"
    project.notes.clear()


# Candidates.


def test_a_first_model_is_promoted_if_it_keeps_what_was_asked(project, made):
    project.add(made.good)
    outcome = promotion.promote(flow_run="a-flow-run")
    assert (outcome.kind, outcome.code, project.champion) == ("promoted", 0, 1)
    assert outcome.records == {"benign": 1800, "attacks": 320, "unseen_attacks": 170, "left_out": 0}
    (line,) = _log()
    assert (line["decision"], line["candidate"], line["champion"], line["serving"]) == ("promoted", 1, None, 1)
    assert (line["digests"]["candidate"], line["flow_run"]) == (made.good.digest, "a-flow-run")
    assert {each["name"] for each in line["criteria"] if each["decides"]} == {
        "benign FPR",
        "recall of all attacks",
        "AUROC on unseen attacks",
    }


def test_a_first_model_with_too_many_false_alarms_is_refused(project, made):
    project.add(made.noisy)
    outcome = promotion.promote()
    assert (outcome.kind, outcome.code, project.champion) == ("refused", 3, None)
    assert "benign FPR" in outcome.reasons[0]


def test_an_equally_good_candidate_takes_the_place_and_the_champion_becomes_previous(project, made):
    _served(project, made, "good", "equal")
    outcome = promotion.promote()
    assert outcome.kind == "promoted", outcome.reasons
    assert (project.aliases["champion"], project.aliases["previous"]) == (2, 1)
    assert [line["serving"] for line in _log()] == [1, 2]
    (number, tags, files), (_, after, _) = project.notes
    assert (number, tags["flowsculpt.gate"], after["flowsculpt.gate"]) == (2, "passed", "promoted")
    assert "| AUROC on unseen attacks |" in next(text for name, text in files.items() if name.endswith(".md"))
    assert json.loads(next(text for name, text in files.items() if name.endswith(".json")))["criteria"]


@pytest.mark.parametrize(("name", "criterion"), [("worse", "AUROC on unseen attacks"), ("noisy", "benign FPR")])
def test_a_worse_candidate_is_refused_with_its_reasons(project, made, name, criterion):
    _served(project, made, "good", name)
    outcome = promotion.promote()
    assert (outcome.kind, outcome.code, project.champion) == ("refused", 3, 1)
    assert any(reason.startswith(criterion) for reason in outcome.reasons)
    assert project.find_version(2).tags["flowsculpt.gate"] == "refused"
    assert criterion in project.find_version(2).tags["flowsculpt.gate.reasons"]
    assert (_log()[-1]["decision"], _log()[-1]["serving"]) == ("refused", 1)


def test_a_silent_first_model_is_refused(project, made):
    project.add(made.silent)
    outcome = promotion.promote()
    assert (outcome.kind, outcome.code, project.champion) == ("refused", 3, None)
    assert outcome.reasons[0].startswith("recall of all attacks: 0.00 % found")
    assert "the model is silent" in project.find_version(1).tags["flowsculpt.gate.reasons"]


def test_a_silent_candidate_does_not_replace_a_champion_that_works(project, made):
    _served(project, made, "good", "silent")
    outcome = promotion.promote()
    assert (outcome.kind, project.champion) == ("refused", 1)
    lines = {each["name"]: each for each in _log()[-1]["criteria"]}
    for name in ("recall of all attacks", "recall of unseen attacks", "recall of seen attacks"):
        assert (lines[name]["decides"], lines[name]["passed"], lines[name]["candidate"]) == (True, False, 0.0)
    assert lines["benign FPR"]["passed"]


def test_a_candidate_that_misses_its_canaries_is_refused_before_it_is_judged(project, made):
    _served(project, made, "good")
    calibration = made.good.calibration
    never = replace(calibration.whole, thresholds=dict.fromkeys(calibration.thresholds, 1e9))
    sealed = made.good.with_calibration(replace(calibration, whole=never)).sealed
    kept = {name: content for name, content in made.good.sealed.files.items() if name in canaries.FILES}
    assert made.good.canaries().must_alarm.any()
    project.add(Bundle.of_sealed(HashedFolder(sealed.about, {**sealed.files, **kept}), project.folder))
    outcome = promotion.promote()
    assert (outcome.kind, outcome.is_distrusted, project.champion) == ("unreadable", True, 1)
    assert "version 2: it misses" in outcome.reasons[0]


def test_a_silent_champion_gives_way_to_a_candidate_that_works(project, made):
    for model in (made.silent, made.good):
        project.add(model)
    project.aliases["champion"] = 1
    project.signed(1)
    outcome = promotion.promote()
    assert (outcome.kind, project.champion) == ("promoted", 2), outcome.reasons
    page = decisions.markdown(outcome)
    assert "at most 2 points above the champion, or above the 1.00 % asked for" in page
    assert "Alarms are those at p99, where a line names no other threshold." in page


def test_the_same_model_twice_moves_nothing(project, made):
    _served(project, made, "good", "good")
    before = dict(project.aliases)
    outcome = promotion.promote()
    assert (outcome.kind, outcome.code, project.aliases, project.notes) == ("unchanged", 0, before, [])
    assert _log()[-1]["decision"] == "unchanged"


def test_no_candidate_is_an_error_that_names_what_was_asked_for(project):
    outcome = promotion.promote("candiate")
    assert (outcome.kind, outcome.code) == ("absent", 1)
    assert "'candiate'" in outcome.reasons[0]
    assert promotion.promote("7").kind == "absent"


def test_a_dry_run_judges_and_moves_and_writes_nothing(project, made):
    _served(project, made, "good", "equal")
    outcome = promotion.promote(dry_run=True)
    assert (outcome.kind, outcome.code, project.champion, project.notes) == ("passed", 0, 1, [])
    assert len(_log()) == 1
    project.add(made.worse)
    assert promotion.promote(dry_run=True).code == 3


# Records.


def test_records_that_either_model_has_used_do_not_judge(project, made):
    _served(project, made, "good", "curious")
    outcome = promotion.promote(dry_run=True)
    assert outcome.records == {"benign": 900, "attacks": 170, "unseen_attacks": 170, "left_out": 1050}
    assert outcome.records_digest != promotion._judged(project.find_version(1), None, config.load(Rules)).records_digest
    assert "1,050 left out" in decisions.markdown(outcome)


def test_an_attack_that_a_model_was_told_of_is_not_unseen(project, made):
    used = np.concatenate([made.good.used, made.world.ids[np.flatnonzero(made.world.attack == "bot")[:5]]])
    told = made.good.with_calibration(made.good.calibration, used)
    selection = heldout.select([told])
    assert selection.not_unseen == ("bot",)
    assert selection.counts == {"benign": 1800, "attacks": 315, "unseen_attacks": 20, "left_out": 5}


def test_too_few_records_are_a_refusal_that_says_how_many_were_left_out(project, made):
    _served(project, made, "good", "greedy")
    outcome = promotion.promote()
    assert (outcome.kind, outcome.code, project.champion) == ("refused", 3, 1)
    assert "0 held-out unseen attacks, at least 30" in outcome.reasons[0]
    assert "1,070 were left out" in outcome.reasons[0]


def test_each_record_keeps_its_label_and_its_score_whatever_the_order_of_the_table(project, made, monkeypatch):
    monkeypatch.setattr(tables, "ROW_GROUP", 500)
    monkeypatch.chdir(made.root)
    made.world.write_records(COLUMNS)
    assert len(list(row_groups(paths.RECORDS))) > 5
    selection = heldout.select([made.good])
    (judged,) = heldout.predict(selection, [made.good], "p99")
    row = {each: i for i, each in enumerate(made.world.ids.tolist())}
    rows = [row[each] for each in selection.record_id.tolist()]
    assert sorted(selection.record_id.tolist()) == sorted(
        made.world.ids[np.char.startswith(made.world.split.astype(str), "test")].tolist()
    )
    np.testing.assert_array_equal(selection.heldout.y, made.world.y[rows])
    assert [FAMILIES[name] for name in made.world.attack[rows]] == selection.heldout.family.tolist()
    np.testing.assert_array_equal(selection.heldout.unseen, np.isin(made.world.attack[rows], ATTACKS[2:]))
    whole = made.good.predict({name: made.world.x[rows, i] for i, name in enumerate(COLUMNS)})
    np.testing.assert_allclose(judged.score, whole.score, rtol=1e-5)
    np.testing.assert_array_equal(judged.alarm, whole.score > made.good.calibration.thresholds["p99"])


def test_records_of_another_ingest_than_the_splits_are_refused(project, made, tmp_path):
    table = read_table(paths.RECORDS)
    (tmp_path / "data" / "interim").unlink()
    with TableWriter(paths.RECORDS, table.schema) as writer:
        writer.write(table.slice(3))
    with pytest.raises(ArtifactError, match="dvc repro"):
        heldout.select([made.good])


def test_a_candidate_that_reads_columns_that_the_records_lack_is_refused_before_anything_is_scored(
    project, made, tmp_path, monkeypatch
):
    _served(project, made, "worse", "good")
    (tmp_path / "data" / "interim").unlink()
    made.world.write_records(COLUMNS[:3])
    monkeypatch.setattr(Bundle, "predict", lambda *_: pytest.fail("scored"))
    outcome = promotion.promote()
    assert (outcome.kind, outcome.code, project.champion) == ("refused", 3, 1)
    assert "version 2" in outcome.reasons[0]
    assert "'delta'" in outcome.reasons[0]


def test_an_unknown_threshold_is_an_error_in_the_settings(project, made, tmp_path):
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["promotion"]["threshold"] = "p98"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    project.add(made.good)
    with pytest.raises(ConfigError, match=r"promotion\.threshold: 'p98' is not known.*p99"):
        promotion.promote()


# Artefacts that were tampered with.


def _spoil(folder):
    path = folder / "detector.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("whose", [1, 2], ids=["champion", "candidate"])
@pytest.mark.parametrize("how", ["changed", "gone", "replaced"])
def test_a_model_that_is_not_the_registered_one_stops_the_promotion_and_serving_goes_on(project, made, whose, how):
    _served(project, made, "good", "equal")
    folder = project.folder / str(whose)
    if how == "changed":
        _spoil(folder)
    elif how == "gone":
        folder.rename(folder.with_name("elsewhere"))
    else:
        made.worse.save(folder)
    outcome = promotion.promote()
    assert (outcome.kind, outcome.code, project.champion) == ("unreadable", 1, 1)
    assert f"version {whose}" in outcome.reasons[0]
    assert "flowsculpt rollback" in outcome.reasons[1]
    assert (_log()[-1]["decision"], _log()[-1]["serving"]) == ("unreadable", 1)


# Others at work.


def test_a_champion_that_changed_meanwhile_is_not_overwritten(project, made, monkeypatch):
    _served(project, made, "good", "equal")
    third, judge = project.add(made.noisy), heldout.predict

    def slowly(*given):
        project.promote(project.find_version(third), project.find_version("champion"))
        return judge(*given)

    monkeypatch.setattr(heldout, "predict", slowly)
    outcome = promotion.promote("2")
    assert (outcome.kind, outcome.code, project.champion) == ("overtaken", 1, third)
    assert project.find_version(2).tags["flowsculpt.gate"] == "overtaken"
    assert "became the champion meanwhile" in outcome.reasons[0]


def test_an_alias_that_was_moved_by_other_means_is_found_and_logged(project, made):
    _served(project, made, "good", "equal")
    project.aliases["champion"] = 2
    assert promotion.promote().kind == "unchanged"
    assert [(line["decision"], line["serving"]) for line in _log()] == [
        ("promoted", 1),
        ("found", 2),
        ("unchanged", 2),
    ]


# Going back.


def test_a_rollback_restores_the_previous_model_and_is_logged(project, made):
    _served(project, made, "good", "equal")
    promotion.promote()
    outcome = promotion.roll_back("flow")
    assert (outcome.kind, outcome.code) == ("rolled back", 0)
    assert (project.aliases["champion"], project.aliases["previous"]) == (1, 2)
    assert (_log()[-1]["decision"], _log()[-1]["serving"], _log()[-1]["champion"]) == ("rolled back", 1, 2)
    assert project.find_version(2).tags["flowsculpt.rolled_back"]


def test_what_was_rolled_back_returns_only_by_its_number(project, made):
    _served(project, made, "good", "equal")
    promotion.promote()
    promotion.roll_back()
    assert promotion.promote().kind == "refused"
    again = project.add(made.equal)  # as a training on the same data would register it
    assert promotion.promote().kind == "refused"
    assert project.champion == 1
    assert promotion.promote(str(again)).kind == "promoted"
    assert project.champion == again


def test_a_rollback_can_be_taken_back(project, made):
    _served(project, made, "good", "equal")
    promotion.promote()
    promotion.roll_back()
    assert promotion.roll_back().kind == "rolled back"
    assert project.champion == 2
    assert not project.find_version(2).tags["flowsculpt.rolled_back"]


def test_what_a_rollback_that_was_killed_sent_back_returns_only_by_its_number(project, made, monkeypatch):
    _served(project, made, "good", "equal")
    promotion.promote()
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(decisions, "log", _die)
        promotion.roll_back()
    assert project.champion == 1
    assert promotion.promote().kind == "refused"
    assert project.champion == 1


def _die(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("act", [promotion.promote, promotion.roll_back])
def test_an_error_behind_the_swap_says_that_it_was_made(act, project, made, monkeypatch):
    _served(project, made, "good", "equal")
    if act is promotion.roll_back:
        promotion.promote()
    serves = 1 if act is promotion.roll_back else 2

    def is_full(*_):
        raise OSError(errno.ENOSPC, "full", "data/promotions.jsonl")

    monkeypatch.setattr(decisions, "log", is_full)
    with pytest.raises(ArtifactError, match=f"version {serves} serves now, and only the record .*No space left"):
        act()
    assert project.champion == serves


def test_a_promotion_that_was_killed_behind_the_swap_is_noted_by_the_next_one(project, made, monkeypatch):
    _served(project, made, "good", "equal")
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(decisions, "log", _die)
        promotion.promote()
    assert project.find_version(2).tags["flowsculpt.gate"] == "passed"
    assert promotion.promote().kind == "unchanged"
    assert project.find_version(2).tags["flowsculpt.gate"] == "promoted"


def test_without_a_previous_model_there_is_nothing_to_go_back_to(project, made):
    assert promotion.roll_back().kind == "impossible"
    _served(project, made, "good")
    outcome = promotion.roll_back()
    assert (outcome.kind, outcome.code, project.champion) == ("impossible", 1, 1)


def test_a_previous_model_that_was_tampered_with_is_not_gone_back_to(project, made):
    _served(project, made, "good", "equal")
    promotion.promote()
    _spoil(project.folder / "1")
    outcome = promotion.roll_back()
    assert (outcome.kind, outcome.code, project.champion) == ("unreadable", 1, 2)


# What people see.


def test_the_page_says_the_verdict_on_each_criterion(project, made):
    _served(project, made, "good", "worse")
    page = decisions.markdown(promotion.promote())
    assert page.startswith("# Promotion: version 2: refused\n")
    (asked,) = [line for line in page.splitlines() if line.startswith("- **failed**: AUROC on unseen attacks, ")]
    assert "at most 0.02 lower, and not surely lower" in asked
    assert "\n- passed: benign FPR, " in page
    assert len([line for line in page.splitlines() if line.startswith("| AUROC on unseen attacks |")]) == 1
    assert "| criterion | records | champion | candidate | difference | bounds |" in page
    assert "Each bound holds with a probability of 95 %." in page
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|") and " %" in line}) == 1
    assert "Held-out records: 1,800 benign, 320 attacks, 170 unseen attacks, 0 left out" in page


def test_the_page_of_a_first_model_has_no_columns_for_a_champion_and_no_wide_one(project, made):
    """Prefect's page cuts off what is wider than its middle."""
    project.add(made.good)
    page = decisions.markdown(promotion.promote())
    assert "| criterion | records | candidate | bounds |" in page
    assert max(len(line) for line in page.splitlines() if line.startswith("|")) < 110


def test_every_kind_has_a_meaning():
    assert set(decisions.MEANING) == set(decisions.Kind.__args__)


def test_the_command_rolls_back_without_a_server(project, made, monkeypatch, capsys):
    monkeypatch.setattr(servers, "connected", lambda _: pytest.fail("looked for a server"))
    _served(project, made, "good", "equal")
    promotion.promote()
    assert promotion.main(["--rollback"]) == 0
    assert "The previous model is the champion again" in capsys.readouterr().out


def test_the_command_refuses_what_makes_no_sense(capsys):
    with pytest.raises(SystemExit):
        promotion.main(["3", "--rollback"])
    assert "takes neither a version" in capsys.readouterr().err


# The log.


def test_lines_are_appended_whole_and_a_torn_one_spoils_no_other(tmp_path):
    path = tmp_path / "log.jsonl"
    append_line(path, {"a": 1})
    with path.open("ab") as stream:
        stream.write(b'{"to')
    append_line(path, {"b": 2})
    assert read_lines(path) == [{"a": 1}, {"b": 2}]
    assert read_lines(tmp_path / "absent") == []


def test_many_writers_lose_no_line_and_mix_none(tmp_path):
    path, lines = tmp_path / "log.jsonl", [{"line": i, "filler": "x" * 5000} for i in range(100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda line: append_line(path, line), lines))
    assert sorted(line["line"] for line in read_lines(path)) == list(range(100))


def test_a_line_that_does_not_fit_on_the_disk_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    append_line(path, {"a": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="cannot be written"):
        append_line(path, {"b": 2})
    assert read_lines(path) == [{"a": 1}]


# The registry of MLflow.


@pytest.fixture
def registered(folder, made):
    """Versions 1 to 3 of the real registry, of which the first serves."""
    for number, bundle in enumerate((made.good, made.equal, made.curious), 1):
        bundle.save(folder / "saved" / str(number))
        run = tracking.open_parent("training", {})
        tracking.close_parent(run)
        registry.register(folder / "saved" / str(number), run, {})
        if number == 1:
            assert promotion.promote().kind == "promoted"
    return folder


@pytest.mark.filterwarnings("ignore")  # MLflow warns of its own code where it saves a model
def test_of_two_promotions_at_once_one_wins_and_each_alias_stays_valid(registered, monkeypatch):
    together, judge = threading.Barrier(2, timeout=60), heldout.predict

    def both(*given):
        judged = judge(*given)
        together.wait()
        return judged

    monkeypatch.setattr(heldout, "predict", both)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(promotion.promote, ["2", "3"]))
    assert {outcome.kind for outcome in outcomes} == {"promoted", "overtaken"}
    winner = next(outcome.candidate for outcome in outcomes if outcome.kind == "promoted")
    champion = registry.find_version("champion")
    assert (champion.number, registry.find_version("previous").number) == (winner.number, 1)
    assert champion.tags["flowsculpt.gate"] == "promoted"
    assert "benign FPR" in champion.tags["flowsculpt.gate.reasons"]
    assert len(list(registered.glob(f"mlruns/**/versions/{champion.number}/gate/*.md"))) == 1

    assert promotion.roll_back().kind == "rolled back"
    assert registry.find_version("champion").number == 1

    for stored in registered.glob("mlruns/**/bundle/detector.safetensors"):
        _spoil(stored.parent)
    outcome = promotion.promote(str(winner.number))
    assert (outcome.kind, outcome.champion.number) == ("unreadable", 1)
    assert registry.find_version("champion").number == 1


# The flow, against a server.


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("prefect")
    options = ("--no-services", "--no-ui", "--log-level", "ERROR")
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_HOME: home}):
        patch.setenv("PREFECT_HOME", str(home))
        with (
            servers.prefect(servers.free_port(), options=options) as api,
            temporary_settings({PREFECT_API_URL: api, PREFECT_LOGGING_TO_API_ENABLED: False}),
        ):
            yield


def _flow_in_a_thread(pool, version):
    return pool.submit(contextvars.copy_context().run, promotion.promotion, version, return_state=True)


def test_two_flows_at_once_work_one_after_the_other_and_leave_their_page(server, project, made, monkeypatch):
    _served(project, made, "good", "equal", "worse")
    at_work, judge = [], heldout.predict

    def watched(*given):
        at_work.append("begins")
        judged = judge(*given)
        time.sleep(0.5)
        at_work.append("ends")
        return judged

    monkeypatch.setattr(heldout, "predict", watched)
    with ThreadPoolExecutor() as pool:
        flows = [_flow_in_a_thread(pool, version) for version in ("2", "3")]
    states = [flow.result() for flow in flows]
    assert at_work == ["begins", "ends"] * 2
    assert [(state.name, state.is_completed()) for state in states] == [("Promoted", True), ("Refused", True)]
    assert project.champion == 2
    assert promotion.promotion("2").kind == "unchanged"  # what a flow gets that calls it as a subflow
    with pytest.raises(promotion.PromotionError, match="no version '7'"):
        promotion.promotion("7")
    with get_client(sync_client=True) as client:
        pages = [page.data for page in client.read_artifacts()]
    assert sum(page.startswith("# Promotion: version 3: refused") for page in pages) == 1
    assert len(pages) == 4
    assert all(line["flow_run"] for line in _log()[1:])
