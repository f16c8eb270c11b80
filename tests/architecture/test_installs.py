"""Every way to install takes the versions that were tested together; the newest torch brings gigabytes of CUDA."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDS = [*PROJECT["dependencies"], *(need for extra in PROJECT["optional-dependencies"].values() for need in extra)]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)


@pytest.mark.parametrize("need", NEEDS)
def test_the_pinned_version_lies_in_the_range_of_the_project(need):
    requirement = Requirement(need)
    pins = {re.sub(r"[._]", "-", name.lower()): version for name, version in PINS.items()}
    assert requirement.specifier.contains(pins[requirement.name.lower()], prereleases=True)
    assert any(clause.operator == ">=" for clause in requirement.specifier), "the oldest that will do"


def test_no_range_of_the_project_is_a_pin():
    assert [need for need in NEEDS if "==" in need] == []


def test_every_command_that_installs_names_the_constraints():
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    texts = {name: (ROOT / name).read_text() for name in listed if Path(name).suffix in ("", ".md", ".yaml", ".py")}
    commands = [
        (name, command)
        for name, text in texts.items()
        if not name.startswith("tests/")
        for command in re.findall(r"\bpip install (?:\\\n|[^\n`])*", text)
    ]
    assert {name for name, _ in commands} >= {".ci/install", "docs/prefect.docker.yaml"}
    assert [found for found in commands if "--constraint" not in found[1]] == []
