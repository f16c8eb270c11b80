"""Alerts of a file say why they are alerts: in their table, by the command and in Python alike."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flows import explain
from flows.reports.reasons import likeness
from pipeline import AlarmModel, config
from pipeline.artifacts import paths
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError
from pipeline.datasets.labels import family
from pipeline.serving import arrivals, attacks, batch, benign, own_model
from pipeline.serving.alerts import stored
from pipeline.serving.alerts.explaining import COLUMNS
from pipeline.serving.alerts.schema import alerts_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.families import OTHERS
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.reasons import Explainer
from pipeline.settings.alerts import Alerts
from tests.settings import alerts_with

RULES = alerts_with(level="p95")


@pytest.fixture
def bundle(prepared):
    return Bundle.of_project()


@pytest.fixture
def file(week):
    (found,) = arrivals.find(next(path for path in week.iterdir() if "Wednesday" in path.name))
    return found


def without(bundle, *names):
    """The same model, as it was before these files were kept."""
    files = {name: content for name, content in bundle.sealed.files.items() if name not in names}
    return Bundle.of_sealed(HashedFolder(bundle.sealed.about, files), Path())


def scored(file, bundle, rules=RULES):
    batch.score(file, bundle, 3, alerts=rules)
    return alerts_of(stored.read())


def shown(feature):
    """How the text of a reason begins."""
    if "_over_" in feature:
        return "({} + 1) / ({} + 1) ".format(*feature.split("_over_"))
    is_flag = feature.endswith("_per_packet") and feature != "bytes_per_packet"
    return feature.removesuffix("_per_packet") + " / (packets + 1) " if is_flag else feature


def test_each_alert_has_two_to_five_reasons_beside_what_is_usual_and_what_it_is_like(bundle, file):
    found = scored(file, bundle)
    known, seen = bundle.benign(), bundle.attacks()
    names = dict(zip(seen.column("record_id").to_pylist(), seen.column(attacks.ATTACK).to_pylist(), strict=True))
    assert found
    for alert in found:
        assert 2 <= len(alert.reasons) <= 5
        assert all(each.text.startswith(shown(each.feature)) for each in alert.reasons)
        assert all(each.usual in each.text and 0 <= each.share <= 1 for each in alert.reasons)
        shares = [each.share for each in alert.reasons]
        assert shares == sorted(shares, reverse=True)
        assert alert.kind and alert.driver in ("margin", "detector")
        assert alert.similar_benign in known.column("record_id").to_pylist()
        assert names[alert.similar_attack] == alert.similar_attack_name
        assert (alert.family, alert.family_probability) == (family(alert.similar_attack_name), None)


def test_98_of_100_benign_records_lie_where_a_reason_says_that_they_do(bundle, file):
    explainer = Explainer(bundle)
    for alert in scored(file, bundle)[:5]:
        for reason in (each for each in alert.reasons if each.low is not None):
            quantity = explainer.quantities[bundle.features.columns.index(reason.feature)]
            values = quantity.values(explainer.benign.columns)
            inside = np.mean((values >= reason.low) & (values <= reason.high))
            assert inside >= 0.97


def test_the_command_and_the_python_class_give_the_reasons_of_the_table(bundle, file, tmp_path):
    found = sorted(scored(file, bundle), key=lambda alert: -alert.score)[:3]
    bundle.save(tmp_path / "bundle")
    ids = [f"{alert.record_id:016x}" for alert in found]
    chosen = Namespace(path=str(file.path), alias=str(tmp_path / "bundle"), record=ids, most=3, features=5)
    text = explain.explained(chosen)
    frame = pd.read_csv(file.path)
    told = AlarmModel.load(tmp_path / "bundle").explain(frame, "p95", most=3)
    for alert in found:
        for reason in alert.reasons:
            assert reason.text in text and reason.text in {*told["text"]}
        assert f"kind {alert.kind}" in text and f"most like {alert.family}" in text
    first = told.groupby(level=0, sort=False)["share"].first()
    np.testing.assert_allclose([*first], [alert.reasons[0].share for alert in found], rtol=1e-6)


def test_the_kind_of_an_alert_and_its_family_do_not_depend_on_how_many_reasons_are_shown(bundle, file):
    alerts = {alert.record_id: alert for alert in scored(file, bundle)}
    records = read_table(*(own_model.scored() / "records").glob("*.parquet"))
    records = records.filter(pc.is_in(records.column("record_id"), pa.array([*alerts], pa.uint64())))
    explainer, ids = Explainer(bundle), records.column("record_id").to_pylist()
    for most in (1, 2, 5, 20):
        found = explainer.explain(records, None, most, 0.0)
        assert [each.kind for each in found] == [alerts[each].kind for each in ids]


def test_small_families_together_are_not_taken_for_a_family_with_trees_of_its_own(bundle):
    explainer, x = Explainer(bundle), np.zeros((1, 1))
    explainer.names = ["dos_hulk", "heartbleed"]
    explainer.families = SimpleNamespace(names=("dos", OTHERS), probabilities=lambda x: np.array([[0.04, 0.95]]))
    said = [explainer._family(0, explainer.families.probabilities(x), np.array([near])) for near in (0, 1)]
    assert said == [(OTHERS, 0.95), (family("heartbleed"), 0.95)]


def test_no_probability_is_rounded_to_certainty():
    said = [likeness("dos", each, None, None) for each in (1 - 1e-9, 0.95, 1e-9)]
    assert [each.removeprefix("most like dos, probability ") for each in said] == ["over 0.99", "0.95", "below 0.01"]


def test_no_more_alerts_are_explained_than_asked_for_the_strongest_of_each_part_first(bundle, file):
    whole = scored(file, bundle)
    some = scored(file, bundle, replace(RULES, explained=2))
    assert len(some) == len(whole) > 2
    told = [alert.record_id for alert in some if alert.reasons]
    strongest = sorted(whole, key=lambda alert: -alert.score)[:2]
    assert {*told} == {alert.record_id for alert in strongest}
    assert all(alert.kind is None and alert.similar_benign is None for alert in some if not alert.reasons)
    none = scored(file, bundle, replace(RULES, explained=0))
    assert len(none) == len(whole) and not any(alert.reasons for alert in none)
    assert config.load(Alerts).explained == 10_000


def test_a_model_from_before_raises_its_alerts_without_what_it_does_not_keep(bundle, file):
    whole = scored(file, bundle)
    plain = without(bundle, *attacks.FILES)
    assert plain.attacks() is None
    for alert in scored(file, plain):
        assert alert.reasons and (alert.family, alert.similar_attack, alert.similar_attack_name) == (None, None, None)
    bare = without(bundle, *attacks.FILES, *benign.FILES)
    batch.score(file, bare, 3, alerts=RULES)
    table = stored.read()
    assert table.num_rows == len(whole)
    assert all(table.column(name).null_count == table.num_rows for name in COLUMNS)
    with pytest.raises(ArtifactError, match="keeps no benign records"):
        Explainer(bare)


def test_up_to_fifty_records_of_each_attack_that_was_learnt_are_kept(bundle, monkeypatch):
    train = read_table(paths.PROCESSED / "train.parquet", ["record_id", "y", "attack"]).to_pandas()
    counts = train[train["y"] == 1]["attack"].astype(str).value_counts()
    kept = bundle.attacks()
    found = pd.Series(kept.column(attacks.ATTACK).to_pylist()).value_counts()
    assert found.to_dict() == {name: min(count, 50) for name, count in counts.items()}
    assert np.isin(kept.column("record_id").to_numpy(), bundle.used).all()
    ids, names = attacks.chosen(paths.PROCESSED / "train.parquet")
    records = benign.rows_of(paths.RECORDS, ids, [column.name for column in bundle.columns])
    for column in bundle.columns:
        wanted = records.column(column.name).cast(pa.float32()).to_numpy()
        np.testing.assert_array_equal(kept.column(column.name).to_numpy().astype(np.float32), wanted)
    assert kept.column(attacks.ATTACK).to_pylist() == names.tolist()
