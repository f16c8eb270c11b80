"""A bundle is what the stages left, as one folder: it judges as evaluate does, and nothing in it changes unseen."""

import json

import numpy as np
import pytest
import torch

from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError, DataError, SchemaError
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.serving import manifest
from pipeline.serving.bundle import Bundle

TESTS = ("test_seen", "test_unseen")
FITTED_ON = ("train", "val", "calibration")


@pytest.fixture
def bundle(prepared):
    return Bundle.of_project()


@pytest.fixture
def folder(bundle, tmp_path):
    bundle.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def raw(split):
    """The raw records of a split, in its order."""
    ids = read_samples(paths.PROCESSED, split).record_id
    records = read_table(paths.RECORDS)
    order = {each: row for row, each in enumerate(records.column("record_id").to_pylist())}
    return records.take([order[each] for each in ids.tolist()])


def assert_same(some, others):
    for one, other in zip(parts(some), parts(others), strict=True):
        np.testing.assert_array_equal(one, other)


def parts(judged):
    """Every array of a judgement."""
    return [*judged.scores.values(), judged.score, judged.p_value, judged.confidence, judged.verdict]


def test_it_judges_test_records_bit_for_bit_as_evaluate_does(folder):
    loaded = Bundle.load(folder)
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    for split in TESTS:
        judged = loaded.predict(raw(split))
        margin, detector = read_samples(paths.SCORES, split).x.T.astype(np.float64)
        np.testing.assert_array_equal(judged.margin, margin)
        np.testing.assert_array_equal(judged.detector, detector)
        np.testing.assert_array_equal(judged.score, calibration.score(margin, detector))


def test_it_knows_the_records_that_may_not_judge_it(bundle):
    used = [read_samples(paths.PROCESSED, split).record_id for split in FITTED_ON]
    np.testing.assert_array_equal(bundle.used, np.unique(np.concatenate(used)))
    for split in TESTS:
        assert not np.isin(read_samples(paths.PROCESSED, split).record_id, bundle.used).any()


def test_equal_models_have_equal_digests_and_another_calibration_another_one(bundle, folder, tmp_path):
    loaded = Bundle.load(folder)
    assert loaded.digest == bundle.digest == Bundle.of_project().digest
    loaded.save(tmp_path / "again")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()
    }
    margin, detector = np.random.default_rng(0).normal(size=(2, 500))
    moved = bundle.with_calibration(Calibration.fit(margin, detector, strategy=Percentile()), np.array([7], np.uint64))
    assert moved.digest != bundle.digest
    moved.save(tmp_path / "moved")
    back = Bundle.load(tmp_path / "moved")
    assert back.digest == moved.digest
    assert set(back.used.tolist()) == {*bundle.used.tolist(), 7}
    records = raw("test_seen")
    assert_same(back.predict(records), moved.predict(records))
    np.testing.assert_array_equal(back.predict(records).detector, bundle.predict(records).detector)


def test_batches_bound_memory_and_change_no_verdict(bundle):
    records, rows = raw("test_seen"), []
    scores = type(bundle.model).scores
    small = Bundle.of_sealed(bundle.sealed, paths.DATA, batch_size=64)

    def counted(model, x):
        rows.append(len(x))
        return scores(model, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bundle.model), "scores", counted)
        judged = small.predict(records)
    assert max(rows) <= 64
    assert sum(rows) == len(records)
    np.testing.assert_allclose(judged.score, bundle.predict(records).score, rtol=1e-4)


def test_arrays_and_a_table_and_integers_are_the_same_records(bundle):
    records = raw("test_seen")
    arrays = {column.name: records.column(column.name).to_numpy() for column in bundle.columns}
    expected = bundle.predict(records)
    assert_same(bundle.predict(arrays), expected)
    whole = {name: v.astype(np.int64) if (v == v.astype(np.int64)).all() else v for name, v in arrays.items()}
    assert any(v.dtype == np.int64 for v in whole.values())
    assert_same(bundle.predict(whole), expected)


def test_its_example_is_a_record_in_the_middle_of_the_train_rows(bundle):
    example = bundle.sealed.about["example"]
    assert [*example] == [column.name for column in bundle.columns]
    train = raw("train").column("flow_duration").to_numpy()
    assert example["flow_duration"] == pytest.approx(train.mean(), rel=1e-6)
    assert len(bundle.predict({name: np.array([value]) for name, value in example.items()}).score) == 1


def test_no_records_have_no_judgement(bundle):
    assert all(len(part) == 0 for part in parts(bundle.predict(raw("test_seen").slice(0, 0))))


def test_missing_columns_are_all_named_before_anything_is_scored(bundle):
    records = raw("test_seen")
    arrays = {c.name: records.column(c.name).to_numpy() for c in bundle.columns if c.name != "flow_duration"}
    arrays["flow_duratio"] = arrays.pop("idle_max")
    with pytest.raises(
        SchemaError, match=r"lack 2 of the \d+ columns.*'flow_duration' \(did you mean 'flow_duratio'\?\)"
    ):
        bundle.predict(arrays)


@pytest.mark.parametrize("wrong", [["12", "13"], np.array([1, "a"], dtype=object)])
def test_words_where_a_number_belongs_are_refused(bundle, wrong):
    records = raw("test_seen").slice(0, 2)
    arrays = {name: records.column(name).to_numpy() for name in (column.name for column in bundle.columns)}
    with pytest.raises(DataError, match="flow_duration"):
        bundle.predict({**arrays, "flow_duration": wrong})


def test_columns_of_different_lengths_are_refused(bundle):
    records = raw("test_seen").slice(0, 2)
    arrays = {name: records.column(name).to_numpy() for name in (column.name for column in bundle.columns)}
    with pytest.raises(DataError, match=r"flow_duration.* 3 .*2"):
        bundle.predict({**arrays, "flow_duration": np.zeros(3)})


def test_loading_draws_nothing_from_the_generator(folder):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    Bundle.load(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


FILES = sorted(
    {f"{name}{kind}" for name in ("features", "encoder", "detector", "thresholds") for kind in manifest.KINDS}
)


@pytest.mark.parametrize("name", [*FILES, "used.safetensors"])
def test_one_changed_byte_is_refused_with_the_file(folder, name):
    change(folder / name, 1 / 2)
    with pytest.raises(ArtifactError, match=name):
        Bundle.load(folder)


@pytest.mark.parametrize("where", np.linspace(0, 1, 40, endpoint=False))
def test_one_changed_byte_of_the_manifest_is_refused_or_makes_another_digest(folder, bundle, where):
    """Nothing in the folder vouches for the manifest: whoever loads it compares the digest with the registered one."""
    change(folder / manifest.MANIFEST, where)
    try:
        digest = Bundle.load(folder).digest
    except ArtifactError as error:
        assert str(folder) in str(error)
    else:
        assert digest != bundle.digest


def change(path, where):
    """Change one bit of the byte at a share of the file's length."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [*FILES, "used.safetensors", manifest.MANIFEST])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: is absent"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["weights.pkl", "detector.pt", "more.json", "python_model", ".hidden.safetensors"])
def test_an_added_file_is_refused(folder, name):
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(ArtifactError, match=name):
        Bundle.load(folder)


def test_a_pickle_that_the_manifest_names_is_refused_all_the_same(folder, bundle):
    planted = manifest.HashedFolder(bundle.sealed.about, {**bundle.sealed.files, "weights.pkl": b"\x80\x04."})
    planted.save(folder)
    with pytest.raises(ArtifactError, match=r"weights\.pkl: does not belong"):
        Bundle.load(folder)


def test_a_folder_and_a_link_in_place_of_a_file_are_refused(folder, tmp_path):
    (folder / "encoder.json").rename(tmp_path / "elsewhere.json")
    (folder / "encoder.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ArtifactError, match=r"encoder\.json"):
        Bundle.load(folder)


@pytest.mark.parametrize("files", [{"../detector.json": "0"}, {"a/b.json": "0"}])
def test_a_manifest_that_points_out_of_its_folder_is_refused(folder, files):
    listed = json.loads((folder / manifest.MANIFEST).read_text())
    (folder / manifest.MANIFEST).write_text(json.dumps({**listed, "files": {**listed["files"], **files}}))
    with pytest.raises(ArtifactError, match="does not belong"):
        Bundle.load(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 2, "files": {}}'])
def test_a_manifest_of_another_format_is_refused(folder, content):
    (folder / manifest.MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=manifest.MANIFEST):
        Bundle.load(folder)


def test_parts_of_two_models_are_refused(bundle, prepared):
    prepared.set("preprocess.features.drop", ["destination_port", "flow_duration"])
    prepared.run("preprocess")
    with pytest.raises(ArtifactError, match=r"encoder.*other features"):
        Bundle.of_project()


def test_a_stage_that_has_not_run_is_named(project):
    with pytest.raises(ArtifactError, match=r"features\.json: is absent"):
        Bundle.of_project()
