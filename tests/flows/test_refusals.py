"""A model that is refused raises an event, which automations may wait for."""

from types import SimpleNamespace

import pytest

from flows import adopt, promotion, scoring, watch, watching
from flows.reports.decisions import Outcome
from flows.runtime import events as prefect_events
from pipeline.base.errors import ArtifactError, TrustError
from pipeline.serving import loading


@pytest.fixture
def events(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("{}")
    found = []
    monkeypatch.setattr(
        prefect_events, "emit_event", lambda name, **given: found.append((name, given["payload"]["reason"]))
    )
    return found


def fails(error):
    def call(*_, **__):
        raise error

    return call


def test_a_scoring_whose_model_is_refused_raises_an_event(events, monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "load", fails(TrustError("is not signed")))
    with pytest.raises(TrustError):
        scoring.score_new(tmp_path, "champion")
    monkeypatch.setattr(loading, "load", fails(ArtifactError("no version")))
    with pytest.raises(ArtifactError):
        scoring.score_new(tmp_path, "champion")
    assert events == [("flowsculpt.model-refused", "is not signed")]


def test_a_champion_that_nobody_vouches_for_is_not_taken_for_none(monkeypatch):
    monkeypatch.setattr(loading, "load", fails(ArtifactError("no version")))
    assert adopt._champion("champion") is None
    monkeypatch.setattr(loading, "load", fails(TrustError("is not signed")))
    with pytest.raises(TrustError):
        adopt._champion("champion")


def test_a_watch_that_cannot_begin_raises_an_event(events, monkeypatch):
    monkeypatch.setattr(watch, "watch", fails(TrustError("is not signed")))
    monkeypatch.setattr(watching, "get_run_logger", lambda: SimpleNamespace(info=lambda *_: None))
    assert watching.watching.fn("data/incoming").is_failed()
    assert events == [("flowsculpt.model-refused", "is not signed")]


@pytest.mark.parametrize(
    ("event", "fields", "raised"),
    [
        ("quarantined", {"file": "a.csv", "reason": "no header"}, ("flowsculpt.file-quarantined", "a.csv: no header")),
        ("quarantined", {"batch": "b1.csv", "reason": "x"}, ("flowsculpt.file-quarantined", "b1.csv: x")),
        ("warning", {"message": "no alert", "silent": True}, ("flowsculpt.model-silent", "no alert")),
        ("warning", {"message": "not signed", "refused": "untrusted"}, ("flowsculpt.model-refused", "not signed")),
        ("warning", {"message": "the log is gone"}, None),
        ("judged", {"records": 3}, None),
    ],
)
def test_a_watch_under_prefect_raises_events_of_what_people_should_know(events, monkeypatch, event, fields, raised):
    monkeypatch.setattr(watch, "watch", lambda _, __, tell: tell(event, **fields))
    monkeypatch.setattr(watching, "get_run_logger", lambda: SimpleNamespace(info=lambda *_: None))
    assert watching.watching.fn("data/incoming").is_completed()
    assert events == ([raised] if raised else [])


@pytest.mark.parametrize("error", [TrustError("is not signed"), ArtifactError("was changed")])
def test_a_promotion_that_finds_no_trust_raises_an_event(events, monkeypatch, error):
    outcome = promotion.decisions.unreadable(None, None, error)
    assert isinstance(outcome, Outcome)
    monkeypatch.setattr(promotion, "roll_back", lambda _: outcome)
    monkeypatch.setattr(promotion, "create_markdown_artifact", lambda *_, **__: None)
    state = promotion.promotion.fn(rollback=True)
    assert state.is_failed()
    assert events == [("flowsculpt.model-refused", "is not signed")] * isinstance(error, TrustError)
