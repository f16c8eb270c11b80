"""Writes ``docs/reference/licences.md``: the licence of each library, as its installed metadata give it.

    python -m docs.tools.licences

The policy stands in ``pipeline/serving/licences.toml``, and ``tests/architecture/test_licences.py`` holds the libraries
against it.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

from pipeline.base.extras import EXTRAS, PROJECT
from pipeline.serving.libraries import Library, closure, policy

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reference" / "licences.md"
HEAD: Final = """# Licences

This project has the licence Apache-2.0. The tables name each library that it installs, and what is allowed. A test
fails where a library has another licence. `make licences` makes this page from the metadata of what is installed. Where
a licence offers a choice (OR), the allowed one is taken.
"""


def requirements() -> tuple[list[str], list[str]]:
    """What ``pyproject.toml`` asks for: to run all of it, and in the other extras."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    run = [*project["dependencies"], *(each for name in EXTRAS for each in extras[name])]
    more = [each for extra in extras.values() for each in extra if Requirement(each).name != PROJECT]
    return run, more


def page() -> str:
    """The whole page as Markdown."""
    run, more = requirements()
    needed, every = closure(run), closure([*run, *more])
    known = policy()
    lines = [HEAD, "\n## Allowed\n", "\n| licence | why |\n|---|---|\n"]
    lines += [f"| {name} | {why} |\n" for name, why in known["allowed"].items()]
    lines += ["\n## Exceptions\n", "\n| library | licence | why it is there all the same |\n|---|---|---|\n"]
    lines += [f"| {name} | {each['licence']} | {each['reason']} |\n" for name, each in known["exceptions"].items()]
    lines += ["\n## Libraries\n", "\nThose of development are in extras: a run does not need them.\n"]
    lines += ["\n| library | version | licence | for |\n|---|---|---|---|\n"]
    lines += [row(each, name in needed) for name, each in every.items()]
    return "".join(lines)


def row(library: Library, is_needed: bool) -> str:
    """One line of the table of libraries."""
    use = "a run" if is_needed else "an extra, or development"
    return f"| {library.name} | {library.version} | {library.licence} | {use} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
