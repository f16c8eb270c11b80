"""``--help`` answers at once: no program imports what takes seconds before it has read its arguments."""

import json
import subprocess
import sys

import pytest

from flows import arguments, cli

SCRIPT = """
import contextlib, io, json, runpy, sys
kind, *calls = sys.argv[1:]
said = {}
for call in calls:
    words, out = call.split(), io.StringIO()
    if kind == "modules":
        sys.argv = [words[0], *words[1:]]
        start = lambda: runpy.run_module(f"flows.{words[0]}", run_name="__main__")
    else:
        from flows.cli import app
        start = lambda: app(words)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            start()
    except SystemExit as end:
        said[call] = [end.code or 0, out.getvalue()]
heavy = {"torch", "mlflow", "prefect", "pandas", "numpy", "pyarrow", "dvc", "scipy"}
print(json.dumps([said, sorted(heavy & {*sys.modules})]))
"""


def answers(kind, *calls):
    """Exit code and text of each call, and the heavy packages that are imported after all."""
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, kind, *calls]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_help_of_every_module_imports_nothing_heavy():
    modules = [*arguments.PROGRAMS, "scoring", "retraining"]
    said, heavy = answers("modules", *(f"{name} --help" for name in modules))
    assert heavy == []
    assert all(code == 0 and text.startswith("usage: python -m flows.") for code, text in said.values())
    assert len(said) == len(modules)


def test_the_help_of_every_command_imports_nothing_heavy():
    commands = [f"{name} --help" for name, program in cli.PROGRAMS.items() if program.module in arguments.PROGRAMS]
    said, heavy = answers("commands", "--help", *commands)
    assert heavy == []
    assert all(code == 0 for code, _ in said.values())
    assert all(f" {command.split()[0]} " in said[command][1].splitlines()[0] for command in commands)


def test_a_misspelt_option_is_refused_before_anything_heavy_is_imported():
    said, heavy = answers("commands", "score --alais 7 x.csv", "train --forse", "promote --rollback --dry-run")
    assert heavy == []
    assert [code for code, _ in said.values()] == [2, 2, 2]
    assert "--alais" in said["score --alais 7 x.csv"][1]


def test_the_package_itself_imports_nothing_heavy():
    script = "import sys, pipeline; print(sorted({'torch', 'numpy', 'pandas', 'mlflow'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("program", arguments.PROGRAMS)
def test_every_program_reads_its_arguments_by_its_own_name(program):
    with pytest.raises(SystemExit) as ended:
        arguments.parse(program, ["--help"])
    assert ended.value.code == 0
