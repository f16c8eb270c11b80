"""The names of experiment and model: MLflow takes what is allowed here, and what it refuses is refused here first."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.utils.validation import _validate_experiment_name, _validate_logged_model_name, _validate_model_name

from pipeline import tracking
from pipeline.base.errors import ConfigError
from pipeline.settings.tracking import EXPERIMENT, MODEL, Tracking
from pipeline.tracking import names

NEAR = st.text(string.ascii_letters + string.digits + " _-./:@+%\"'\\#?\n\té", max_size=12)


def refuses(check, name):
    try:
        check(name)
    except MlflowException:
        return True
    return False


@given(st.from_regex(MODEL, fullmatch=True))
def test_an_allowed_model_is_taken_by_mlflow_as_model_as_logged_model_and_in_an_address(name):
    assert Tracking("flowsculpt", name).model == name
    _validate_model_name(name)
    _validate_logged_model_name(name)
    found = _parse_model_uri(f"models:/{name}@champion")
    assert (found.name, found.alias) == (name, "champion")
    assert _parse_model_uri(f"models:/{name}/3").name == name


@given(NEAR)
def test_a_model_that_mlflow_refuses_is_refused_here(name):
    assume(refuses(_validate_model_name, name) or refuses(_validate_logged_model_name, name))
    with pytest.raises(ValueError, match="model: allowed are letters, digits"):
        Tracking("flowsculpt", name)


@given(st.from_regex(EXPERIMENT, fullmatch=True))
def test_an_allowed_experiment_is_taken_by_mlflow(name):
    assert Tracking(name, "flowsculpt").experiment == name
    _validate_experiment_name(name)


@pytest.mark.parametrize("name", ["", " ", " zeek", "zeek ", "ze\nek", "it's", "x" * 501])
def test_an_experiment_that_mlflow_or_its_queries_cannot_take_is_refused(name):
    with pytest.raises(ValueError, match="experiment: allowed are"):
        Tracking(name, "flowsculpt")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "{experiment: a, model: zeek/lan}",
            r"tracking\.model: allowed are .*given 'zeek/lan' \(did you mean 'zeek-lan'",
        ),
        ("{experiment: a, model: 'v:2'}", r"tracking\.model: .*given 'v:2'"),
        ("{experiment: a, model: ''}", r"tracking\.model: .*given ''$"),
        ("{experiment: a, model: 7}", r"tracking\.model: .*string, given 7"),
        ("{experiment: a, modle: b}", r".*tracking\.modle: unknown key \(did you mean 'model'"),
        ("{experiment: ' ', model: a}", r"tracking\.experiment: .*given ' '"),
    ],
)
def test_params_yaml_says_where_what_is_allowed_and_what_was_given(tmp_path, given, message):
    (tmp_path / "params.yaml").write_text(f"tracking: {given}")
    with pytest.raises(ConfigError, match=f"params.yaml: {message}"):
        names.of(tmp_path)


@pytest.mark.parametrize("content", [None, "", "workers: {gpu_workers: auto}"])
def test_without_names_a_project_has_the_shipped_ones(tmp_path, content):
    if content is not None:
        (tmp_path / "params.yaml").write_text(content)
    assert names.of(tmp_path) == Tracking("flowsculpt", "flowsculpt")


@pytest.mark.parametrize("edited", ["tracking: {experiment: net, model: wan}", "tracking: {experi"])
def test_an_edit_of_the_file_neither_moves_nor_stops_a_process_that_is_at_work(tmp_path, monkeypatch, edited):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "params.yaml").write_text("tracking: {experiment: net, model: lan}")
    assert tracking.project_names() == Tracking("net", "lan")
    (tmp_path / "params.yaml").write_text(edited)
    assert tracking.project_names() == Tracking("net", "lan")
