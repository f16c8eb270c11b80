"""The Python door: fitted from a frame, saved, loaded and asked, it answers as a registered model does."""

import numpy as np
import pandas as pd
import pytest
import torch

import pipeline
from pipeline import AlarmModel
from pipeline.alarms import project
from pipeline.base.errors import ArtifactError, ConfigError, ContractWarning, DataError, SchemaError, TrainingError
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.synthetic.files import write

QUICK = {"stage2.detector": "mahalanobis", "stage2.head": "none", "stage2.calibration.kind": "split"}
QUICK |= {"calibrate.scores": ["detector"]}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A simulated week, as pandas reads the published files."""
    files = write(tmp_path_factory.mktemp("week"), records=900, seed=0)
    return pd.concat([pd.read_csv(file) for file in files], ignore_index=True)


@pytest.fixture(scope="module")
def model(records):
    return AlarmModel(QUICK).fit(records)


def table(n=1200, seed=0):
    """Records of no network: two numbers and a word; attacks are far off in one number."""
    random = np.random.default_rng(seed)
    attack = np.arange(n) % 6 == 0
    frame = pd.DataFrame({"load": random.normal(size=n) + 6 * attack, "beats": random.integers(0, 50, n)})
    return frame.assign(kind=random.choice(["a", "b"], n), label=np.where(attack, "burst", "normal"))


@pytest.fixture(scope="module")
def of_table():
    return AlarmModel(QUICK).fit(table())


def test_attacks_score_higher_than_benign_records(records, model):
    score = model.decision_function(records)
    attack = (records[" Label"] != "BENIGN").to_numpy()
    assert score.shape == (len(records),)
    assert np.median(score[attack]) > np.quantile(score[~attack], 0.9)


def test_a_prediction_is_a_frame_with_the_index_of_the_records(records, model):
    some = records.sample(50, random_state=0)
    found = model.predict(some)
    assert list(found.columns) == ["record_id", "score", "p_value", "verdict"]
    assert found.index.equals(some.index)
    np.testing.assert_array_equal(found["record_id"], some.index)
    np.testing.assert_array_equal(found["score"], model.decision_function(some))
    assert set(found["verdict"]) <= {"benign", "unknown", "anomalous"}
    named = model.predict(some.assign(record_id=np.arange(50) + 7))
    np.testing.assert_array_equal(named["record_id"], np.arange(50) + 7)


def test_any_header_and_any_type_of_number_is_read_alike(records, model):
    expected = model.decision_function(records)
    corrected = {column.headers[0]: column.headers[-1] for column in FEATURES}
    stripped = records.rename(columns=str.strip)
    canonical = {column.headers[0]: column.name for column in FEATURES}
    whole = stripped.select_dtypes("int64").columns
    with pytest.warns(ContractWarning, match="Another tool wrote it, CICFlowMeter v4"):  # as its names say
        np.testing.assert_array_equal(model.decision_function(stripped.rename(columns=corrected)), expected)
    for frame in (
        stripped,
        stripped.rename(columns=canonical),
        stripped.drop(columns=["Label"])[sorted(set(stripped.columns) - {"Label"})],
        stripped.astype(dict.fromkeys(whole, "float64")),
        stripped.astype(dict.fromkeys(whole, "Int64")),
        stripped.drop(columns=["Fwd Header Length.1"]),  # as the corrected extractor writes it
    ):
        np.testing.assert_array_equal(model.decision_function(frame), expected)


def test_the_reasons_are_features_beside_what_similar_benign_records_have(records, model):
    alerts = model.predict(records).query(f"score > {model.thresholds['p99']}").sort_values("score", ascending=False)
    found = model.explain(records, most=4, top=3)
    assert len(found) == 12
    assert list(found.index[::3]) == list(alerts.index[:4])
    assert found["rank"].tolist() == [1, 2, 3] * 4
    assert (found["score"].diff().dropna() <= 0).all()
    assert found.groupby(level=0, sort=False)["fall"].apply(lambda falls: falls.is_monotonic_decreasing).all()
    assert (found["driver"] == "detector").all()
    names = {column.name: column.headers[0] for column in FEATURES}
    raw = found[found["feature"].isin(names)]
    stripped = records.rename(columns=str.strip)
    for index, row in raw.iterrows():
        assert row["value"] == pytest.approx(stripped.loc[index, names[row["feature"]]])
    assert len(model.explain(records.iloc[:2], threshold=None, top=1)) == 2
    assert model.explain(records.iloc[:0]).empty


def test_the_benign_records_that_it_keeps_are_train_records(model):
    kept = model.bundle_.benign()
    assert 0 < kept.num_rows <= 2000
    assert np.isin(kept.column("record_id").to_numpy(), model.bundle_.used).all()
    assert kept.column_names == ["record_id", *(column.name for column in model.bundle_.columns)]


def test_what_is_saved_is_loaded(records, model, tmp_path):
    model.save(tmp_path / "mine")
    loaded = AlarmModel.load(tmp_path / "mine")
    assert loaded.bundle_.digest == model.bundle_.digest
    pd.testing.assert_frame_equal(loaded.predict(records), model.predict(records))
    pd.testing.assert_frame_equal(loaded.explain(records, most=1), model.explain(records, most=1))
    (tmp_path / "mine" / "detector.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"detector\.json: was changed"):
        AlarmModel.load(str(tmp_path / "mine"))


def test_the_champion_is_that_of_the_registry(model, monkeypatch, tmp_path):
    from pipeline.serving import loading

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load", lambda alias, device, model_name: (alias, model.bundle_))
    assert AlarmModel.load().bundle_ is model.bundle_
    with pytest.raises(ArtifactError, match="holds no model"):
        AlarmModel.load(tmp_path)


def test_any_table_will_do_words_among_it(of_table):
    new = table(300, seed=1)
    score = of_table.decision_function(new.drop(columns=["label"]))
    attack = (new["label"] == "burst").to_numpy()
    assert np.median(score[attack]) > score[~attack].max() or np.median(score[attack]) > np.quantile(
        score[~attack], 0.95
    )
    found = of_table.explain(new, threshold=None, most=1, top=4)
    assert found["feature"].iloc[0] == "load"
    assert {"a", "b"} & {*map(str, found["value"])}


def test_labels_may_be_given_beside_the_records():
    frame = table()
    y = pd.Series((frame["label"] == "burst").astype(int))
    assert project.named(y).value_counts().to_dict() == {"BENIGN": 1000, "attack": 200}
    assert project.label_column(frame.rename(columns={"label": " Label"})) == " Label"
    with pytest.raises(SchemaError, match=r"no labels \(did you mean 'labl'\?\)"):
        project.label_column(frame.rename(columns={"label": "labl"}))


def test_training_touches_neither_the_folder_nor_the_random_numbers_of_this_process(of_table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    kept = AlarmModel(QUICK, tmp_path / "kept").fit(table())
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert kept.bundle_.digest == of_table.bundle_.digest
    with pytest.raises(ConfigError, match="is not empty"):
        kept.fit(table())


def test_what_a_stage_refuses_is_told(records):
    with pytest.raises(TrainingError, match=r"^ingest: .*every one of .* records is an attack"):
        AlarmModel(QUICK).fit(table().query("label != 'normal'"))
    with pytest.raises(ConfigError, match="'stage9' is no section"):
        AlarmModel({"stage9.detector": "knn"}).fit(records)
    with pytest.raises(ConfigError, match=r"stage2\.head"):
        AlarmModel({"stage2.head": 3}).fit(records)


def test_records_that_are_not_what_the_model_reads_are_refused(records, model):
    with pytest.raises(SchemaError, match=r"lack 1 of the \d+ columns read: 'flow_duration'"):
        model.predict(records.drop(columns=[" Flow Duration"]))
    with pytest.raises(DataError, match="flow_duration"):
        model.predict(records.assign(**{" Flow Duration": "long"}))
    with pytest.raises(SchemaError, match="both mean 'flow_duration'"):
        model.predict(records.assign(flow_duration=1))
    with pytest.raises(ConfigError, match=r"threshold 'p98' is not known"):
        model.explain(records, threshold="p98")
    with pytest.raises(ArtifactError, match="not fitted"):
        AlarmModel().predict(records)


def test_it_has_the_manners_of_an_estimator(model):
    from sklearn.base import clone
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    copy = clone(model)
    assert copy.get_params() == model.get_params() and copy is not model
    assert copy.set_params(verbose=True).verbose
    assert repr(AlarmModel({"stage2.detector": "knn"})) == "AlarmModel(settings={'stage2.detector': 'knn'})"
    with pytest.raises(AttributeError, match="has no attribute 'AlarmModle'"):
        pipeline.AlarmModle


def test_labels_follow_the_records_by_place_whatever_their_index(tmp_path):
    records = pd.DataFrame({"x": [1.0, 2.0]}, index=[5, 1])
    given = project.given_labels(records, pd.Series(["BENIGN", "DoS"]))
    assert project.named(given).tolist() == ["BENIGN", "DoS"]


@pytest.mark.parametrize("labels", [["BENIGN"], [["BENIGN", "DoS"]]], ids=["too few", "two-dimensional"])
def test_labels_of_another_number_than_the_records_are_refused(labels):
    with pytest.raises(DataError, match="2 records, but labels of shape"):
        project.given_labels(pd.DataFrame({"x": [1.0, 2.0]}), labels)


def test_a_record_without_a_label_is_refused():
    with pytest.raises(DataError, match="1 of 2 records have no label"):
        project.named(pd.Series(["BENIGN", None]))
