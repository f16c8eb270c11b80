"""What a Dockerfile says: its stages, and the steps of each. As much of the format as ``deploy/Dockerfile`` uses.

Source: "Dockerfile reference", Docker documentation.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline.base.errors import ConfigError

KNOWN: Final = ("ARG", "CMD", "COPY", "ENV", "FROM", "HEALTHCHECK", "RUN", "USER", "WORKDIR")
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True)
class Step:
    """An instruction, such as ``RUN``, with what stands behind it, and its line in the file."""

    word: str
    rest: str
    line: int


@dataclass
class Stage:
    """What ``FROM`` begins.

    Attributes:
        base: another stage, or an image.
        name: behind ``AS``.
        steps: in their order.
    """

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)


def read(path: Path, given: Mapping[str, str]) -> dict[str, Stage]:
    """The stages by name.

    Args:
        path: of the Dockerfile.
        given: build arguments in place of their defaults.

    Raises:
        ConfigError: an instruction that is not known here, or a stage without a name.
    """
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    for step in _steps(path.read_text(encoding="utf-8")):
        _require_known(path, step)
        if step.word == "ARG" and not stages:
            name, _, value = step.rest.partition("=")
            arguments[name] = given.get(name, value)
        elif step.word == "FROM":
            found = re.fullmatch(r"(\S+) AS (\S+)", step.rest)
            if found is None:
                raise ConfigError(f"{path}, line {step.line}: FROM IMAGE AS NAME is expected, not {step.rest!r}")
            stages[found[2]] = Stage(expanded(found[1], arguments), found[2])
        else:
            [*stages.values()][-1].steps.append(step)
    return stages


def _require_known(path: Path, step: Step) -> None:
    if step.word not in KNOWN:
        raise ConfigError(f"{path}, line {step.line}: {step.word} is not known here; known are {', '.join(KNOWN)}")
    options = [word for word in step.rest.split() if word.startswith("--") and not word.startswith("--from=")]
    if step.word == "COPY" and options:
        raise ConfigError(f"{path}, line {step.line}: COPY {options[0]} is not known here; --from is")
    if step.word in ("ENV", "FROM") and re.search(r"\$\{\w+[^\w}]|\$\$|'[^']*\$", step.rest):
        raise ConfigError(f"{path}, line {step.line}: of variables, $NAME and ${{NAME}} are known here")


def needed(stages: Mapping[str, Stage], target: str) -> list[Stage]:
    """A stage behind all those that it takes something from."""
    order: list[Stage] = []

    def add(name: str) -> None:
        stage = stages.get(name)
        if stage is None or stage in order:
            return
        add(stage.base)
        for step in stage.steps:
            if step.word == "COPY" and step.rest.startswith("--from="):
                add(step.rest.split()[0].removeprefix("--from="))
        order.append(stage)

    add(target)
    return order


def words(rest: str) -> list[str]:
    """A command: a list of JSON as it stands, or a line for the shell."""
    return list(json.loads(rest)) if rest.startswith("[") else ["/bin/sh", "-c", rest]


def pairs(rest: str) -> dict[str, str]:
    """What ``ENV`` sets."""
    return {name: value for name, _, value in (each.partition("=") for each in shlex.split(rest))}


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """A text with its variables filled in."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def _steps(text: str) -> Iterator[Step]:
    held, begun = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        begun = begun if held else number
        held += line.strip().removesuffix("\\")
        if not line.endswith("\\"):
            word, _, rest = held.partition(" ")
            yield Step(word, rest.strip(), begun)
            held = ""
