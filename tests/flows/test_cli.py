"""The command ``flowsculpt``: it knows every program, passes on what follows, and imports nothing before it must."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from flows import cli
from pipeline import tracking

PROGRAMS = {
    "train": ("training", []),
    "score": ("scoring", []),
    "promote": ("promotion", []),
    "rollback": ("promotion", ["--rollback"]),
    "drift": ("drift_check", []),
    "lineage": ("lineage", []),
    "serve": ("serve", []),
    "benchmark": ("benchmark", []),
    "preset": ("preset", []),
}


@pytest.mark.parametrize(("command", "program", "first"), [(name, *each) for name, each in PROGRAMS.items()])
def test_what_follows_the_word_goes_to_the_program(monkeypatch, command, program, first):
    called = []
    found = {f"flows.{program}": SimpleNamespace(main=lambda arguments: called.append(arguments) or 3)}
    monkeypatch.setattr(cli, "importlib", SimpleNamespace(import_module=found.__getitem__))
    monkeypatch.setattr(tracking, "environment", dict)
    done = CliRunner().invoke(cli.app, [command, "--alias", "7", "--help", "a file.csv"])
    assert done.exit_code == 3
    assert called == [[*first, "--alias", "7", "--help", "a file.csv"]]


def test_every_command_is_tried_here_and_says_what_it_does():
    assert {each.callback.__name__ for each in cli.app.registered_commands} == set(PROGRAMS)
    shown = CliRunner().invoke(cli.app, ["--help"]).output
    assert all(name in shown for name in PROGRAMS)


def test_a_misspelt_command_is_refused_with_the_near_miss():
    done = CliRunner().invoke(cli.app, ["scroe"])
    assert done.exit_code == 2
    assert "score" in done.output


def test_help_imports_no_heavy_package():
    script = "import sys, flows.cli; print(*sorted({'mlflow', 'prefect', 'torch', 'dvc', 'numpy'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
