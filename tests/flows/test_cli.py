"""The command ``flowsculpt``: it knows every program, passes on what follows, and imports nothing before it must."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from flows import cli
from pipeline import tracking


@pytest.mark.parametrize("command", cli.PROGRAMS)
def test_what_follows_the_word_goes_to_the_program(monkeypatch, command):
    called, program = [], cli.PROGRAMS[command]
    found = {f"flows.{program.module}": SimpleNamespace(main=lambda arguments: called.append(arguments) or 3)}
    monkeypatch.setattr(cli, "importlib", SimpleNamespace(import_module=found.__getitem__))
    monkeypatch.setattr(tracking, "quiet_tools", lambda: None)
    monkeypatch.setattr(cli.arguments, "parse", lambda module, given, usage: called.append((module, given, usage)))
    done = CliRunner().invoke(cli.app, [command, "--alias", "7", "--help", "a file.csv"], prog_name="flowsculpt")
    given = [*program.given, "--alias", "7", "--help", "a file.csv"]
    assert done.exit_code == 3
    assert called == [(program.module, given, f"flowsculpt {command}"), given]


def test_every_program_is_there():
    for program in cli.PROGRAMS.values():
        assert "def main(" in Path(find_spec(f"flows.{program.module}").origin).read_text()


def test_a_command_runs_as_a_program():
    done = subprocess.run([sys.executable, "-m", "flows.cli", "preset", "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stdout[:6]) == (0, "usage:"), done.stderr


def test_the_help_names_every_command():
    shown = CliRunner().invoke(cli.app, ["--help"]).output
    assert all(name in shown for name in cli.PROGRAMS)


def test_a_misspelt_command_is_refused_with_the_near_miss():
    done = CliRunner().invoke(cli.app, ["scroe"])
    assert done.exit_code == 2
    assert "score" in done.output


def test_help_imports_no_heavy_package():
    script = "import sys, flows.cli; print(*sorted({'mlflow', 'prefect', 'torch', 'dvc', 'numpy'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr


def test_the_old_name_of_the_drift_check_works_and_says_so():
    done = subprocess.run([sys.executable, "-m", "flows.retraining", "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stdout[:6]) == (0, "usage:")
    assert "flows.retraining is now python -m flows.drift_check" in done.stderr


def test_a_deployment_of_before_finds_the_flow_under_its_old_entrypoint():
    from flows import drift_check, retraining

    assert retraining.drift_check is drift_check.drift_check
