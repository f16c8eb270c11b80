"""Who may use the MLflow server; the server itself is asked in tests/end_to_end/test_schedule.py."""

import pytest

from flows import keeping_arguments, people
from pipeline.base.errors import ConfigError
from pipeline.tracking import people as tracked


def test_the_command_offers_the_roles_that_there_are():
    assert tuple(tracked.ROLES) == keeping_arguments.ROLES


def test_without_a_server_nobody_is_let_in(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI names none"):
        tracked.add("ada", "reader")
    assert people.main(["remove", "ada"]) == 1
    assert "`make serve` starts one" in capsys.readouterr().err
