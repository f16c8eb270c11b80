"""Every command in README and docs is one that its own program takes, and every setting and file in them exists."""

import argparse
import importlib
import importlib.util
import re
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from flows import cli
from flows.runtime import presets
from pipeline import config
from tests.documentation.pages import PAGES, ROOT, blocks, commands, name, spans, text

SETTINGS = presets.flat(config.parse((ROOT / "params.yaml").read_bytes(), "params.yaml"))
SECTIONS = {key.partition(".")[0] for key in SETTINGS} - {"preset"}
SHELL = {
    "source",
    ".",
    "git",
    "pip",
    "lint-imports",
    "ruff",
    "mypy",
    "codespell",
    "pre-commit",
}  # of others, or trivial


class ParsedError(Exception):
    """A program has read its command line, and shall not start."""


@pytest.fixture
def takes(monkeypatch):
    """Whether a module's own parser takes these words; the program does not start."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser, *arguments, **named):
        parse(parser, *arguments, **named)
        raise ParsedError

    def check(module, words):
        assert importlib.util.find_spec(module), f"there is no module {module}"
        if not words:
            return
        if importlib.util.find_spec(module).submodule_search_locations:
            module += ".__main__"  # what `python -m` runs of a package
        source = Path(importlib.util.find_spec(module).origin).read_text()
        if not re.search(r"\bparse(_args)?\(", source):
            pytest.fail(f"{module} takes no options")
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
        monkeypatch.setattr(sys, "argv", [module, *words])
        with pytest.raises(ParsedError):
            importlib.import_module(module).main()

    return check


def _flowsculpt(takes, words):
    if words[:1] == ["--help"] or not words:
        return
    known = typer.main.get_command(cli.app)
    assert words[0] in known.commands, f"flowsculpt has no command {words[0]}"
    if "--help" in words:
        return
    if words[0] in cli.PROGRAMS:
        program = cli.PROGRAMS[words[0]]
        takes(f"flows.{program.module}", [*program.given, *words[1:]])
    else:
        known.commands[words[0]].make_context(words[0], words[1:])


def _python(takes, words):
    if words[0] == "-m":
        takes(words[1], words[2:])
    else:
        assert (ROOT / words[0]).is_file()


def _make(takes, words):
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets


def _dvc(takes, words):
    from dvc.cli.parser import get_main_parser

    get_main_parser().parse_args(words)
    for flag, setting in pairwise(words):
        if flag == "-S":
            assert setting.partition("=")[0] in SETTINGS, f"there is no setting {setting}"


def _prefect(takes, words):
    from prefect.cli import _app, app  # app loads the commands

    assert app
    words = [word for word in words if word != "--no-prompt"]
    _app._app.parse_args(words, exit_on_error=False, print_error=False)
    if words[:2] == ["deployment", "run"]:
        deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
        known = {f"{each['name']}/{each['name']}": each["parameters"] for each in deployments}
        assert {word.partition("=")[0] for flag, word in pairwise(words) if flag == "--param"} <= set(known[words[2]])


def _mlflow(takes, words):
    from mlflow.cli import cli as command

    while hasattr(command, "commands"):
        name, *words = words
        command = command.get_command(None, name)
        assert command, f"mlflow has no command {name}"
    command.make_context(command.name, words)


def _pytest(takes, words):
    for word in words:
        assert word in {"-p", "no:randomly", "-x"} or (ROOT / word).exists(), word


CHECKS = {
    "flowsculpt": _flowsculpt,
    "python": _python,
    "make": _make,
    "dvc": _dvc,
    "prefect": _prefect,
    "mlflow": _mlflow,
    "pytest": _pytest,
}
MADE = {
    "benchmark.md",
    "suppressions.toml",
    "pipeline/models/detectors/mine.py",
}  # by a run or by the reader, or in data
COMMANDS = sorted({tuple(words) for page in PAGES for words in commands(page)})


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType")  # MLflow's, of its own types
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_program_takes_the_command_that_a_page_shows(words, takes):
    if words[0] not in SHELL:
        CHECKS[words[0]](takes, list(words[1:]))


def test_commands_are_found():
    assert {words[0] for words in COMMANDS} >= set(CHECKS)
    assert len(COMMANDS) > 60


@pytest.mark.parametrize(
    "words",
    [
        ("flowsculpt", "scroe", "data"),
        ("flowsculpt", "score", "data", "--aliass", "champion"),
        ("python", "-m", "flows.no_such"),
        ("python", "-m", "flows.runtime.healing", "--force"),
        ("make", "coffee"),
        ("dvc", "exp", "run", "-S", "stage2.detectr=gmm"),
        ("prefect", "deployment", "run", "training/training", "--param", "forze=true"),
        ("pytest", "tests/no_such"),
    ],
    ids=" ".join,
)
def test_a_command_that_no_program_takes_is_found(words, takes):
    with pytest.raises((AssertionError, SystemExit, pytest.fail.Exception)):
        CHECKS[words[0]](takes, list(words[1:]))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_its_language(page):
    opened = re.findall(r"^```(.*)$", text(page), re.MULTILINE)[::2]
    assert set(opened) <= {"sh", "text", "python", "json", "toml", "yaml"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_snippet_compiles_and_imports_what_exists(page):
    for snippet in blocks(page, "python"):
        compile(snippet, name(page), "exec")
        for module in re.findall(r"^(?:from|import) ([\w.]+)", snippet, re.MULTILINE):
            assert importlib.util.find_spec(module), module


# Settings and files that are named in a sentence.


@cache
def _settings():
    """Dotted names of all settings and of the mappings that hold them."""
    keys = [key.split(".") for key in SETTINGS]
    return {".".join(key[:end]) for key in keys for end in range(1, len(key) + 1)}


# The reference of settings is made from their declarations, those of plug-ins among them; another test holds that.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "settings.md"], ids=name)
def test_every_setting_that_a_page_names_exists(page):
    setting = re.compile(rf"((?:{'|'.join(SECTIONS)})(?:\.[a-z0-9_]+)+)(?:[=:].*)?")
    named = {found[1] for span in spans(page) if (found := setting.fullmatch(span))}
    assert named <= _settings()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_exists(page):
    path = re.compile(
        r"(?:pipeline|flows|docs|benchmarks|tests|presets|\.ci)/[\w./-]*|[\w.-]+\.(?:toml|md|yaml|txt|cff)"
    )
    named = {span for span in spans(page) if path.fullmatch(span)} - MADE
    assert {span for span in named if not (ROOT / span).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_folder_of_data_that_a_page_names_is_one_that_the_project_writes(page):
    known = (ROOT / "data" / "README.md").read_text()
    named = {span.split("/")[1] for span in spans(page) if re.fullmatch(r"data/[\w./={}-]+", span)}
    assert {part for part in named if part and f"`{part}" not in known and part != "README.md"} <= {"raw"}


def test_the_help_of_flowsculpt_says_what_the_reference_says():
    shown = CliRunner().invoke(cli.app, ["--help"]).output
    page = text(ROOT / "docs" / "reference" / "commands.md")
    for command in typer.main.get_command(cli.app).commands:
        assert command in shown
        assert f"| `flowsculpt {command}" in page, f"docs/reference/commands.md has no row for flowsculpt {command}"
