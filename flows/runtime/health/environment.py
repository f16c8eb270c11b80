"""Python, the packages and the GPUs."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from flows.runtime import devices
from flows.runtime.health.finding import Finding, blocks, note, ok
from pipeline.base import extras
from pipeline.base.extras import EXTRAS, PROJECT

MOST_NAMED = 4
INSTALLERS = {"pip", "setuptools", "wheel"}  # no run needs them
INSTALL = "run `.ci/install '.[all]'`, which installs what constraints.txt names"
KNOWN_TO_FAIL = {  # what a newer one breaks, though it installs without a word
    "fastapi": "Prefect's server fails at run time with later ones",
    "sqlalchemy": "Prefect's scheduler fails at run time with later ones",
    "torch": "without constraints.txt pip takes the newest one, with gigabytes of CUDA",
}


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Iterator[Finding]:
    """The interpreter; ``flows.doctor`` refuses one that is too old before it imports this file."""
    yield ok(f"Python {'.'.join(map(str, version))}")


def packages(root: Path, installed: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """What is installed, beside what the project needs and what was tested together.

    Args:
        root: the project's folder.
        installed: versions by name; None: of this environment.
    """
    have = dict(_installed()) if installed is None else installed
    broken = list(_unmet(have))
    yield from broken
    pins = dict(_pins(root / "constraints.txt"))
    other = [name for name in pins.keys() & have.keys() - INSTALLERS if _differs(have[name], pins[name])]
    moved = [f"{name} {have[name]} for {pins[name]}" for name in sorted(other)]
    if moved:
        more = f" and {len(moved) - MOST_NAMED} more" if len(moved) > MOST_NAMED else ""
        shown = f"{', '.join(moved[:MOST_NAMED])}{more}"
        yield note(f"packages in another version than was tested: {shown}", INSTALL)
    elif not broken:
        yield ok("packages: what the project needs, in the versions of constraints.txt")


def code(root: Path) -> Iterator[Finding]:
    """Whether the command runs the code of this folder."""
    import flows

    home = Path(flows.__file__).resolve().parents[1]
    if home != root.resolve():
        remedy = "use the .venv of that folder; `make core` makes it"
        yield note(f"this command runs the code in {home}, not that of {root}", remedy)


def gpus() -> Iterator[Finding]:
    """What the driver shows, and whether torch can use it."""
    try:
        found = devices.find_devices()
    except ModuleNotFoundError as error:
        yield note(f"GPUs are not looked for, as {error.name} is not installed", extras.remedy(extras.TRAIN))
        return
    if not found:
        yield ok("no GPU: training and scoring run on the CPU")
        return
    import torch

    count = f"{len(found)} GPU{'s' if len(found) > 1 else ''}"
    if torch.cuda.is_available():
        yield ok(f"{count}, seen by torch {torch.__version__}")
    elif torch.version.cuda is None:
        remedy = "install the CUDA wheel of the same version, or leave it: the stages then run on the CPU"
        yield note(f"{count}, but torch {torch.__version__} is built for the CPU alone", remedy)
    else:
        remedy = f"install a driver for CUDA {torch.version.cuda}, or set workers.gpu_workers to 0 in params.yaml"
        yield blocks(f"{count}, but torch {torch.__version__} cannot use the driver", remedy)


def _installed() -> Iterator[tuple[str, str]]:
    for found in metadata.distributions():
        yield _name(found.name), found.version


def _unmet(have: Mapping[str, str]) -> Iterator[Finding]:
    """The requirements that are absent or out of range; an extra of which nothing is installed is a note."""
    for extra in ("", *EXTRAS):
        needs = _needs(extra)
        if not needs:
            yield note(f"what is installed says nothing of the extra {extra}: it is older than pyproject.toml", INSTALL)
        elif extra and not have.keys() & extras.KNOWN_BY[extra]:
            yield note(f"the extra {extra} is not installed: this machine cannot {extra}", extras.remedy(extra))
        else:
            yield from _faults(needs, have)


def _needs(extra: str) -> list[Requirement]:
    """What the project asks for by itself (""), or what an extra adds."""
    asked = [*map(Requirement, metadata.requires(PROJECT) or ())]
    return [need for need in asked if _holds(need, extra) and not (extra and _holds(need, ""))]


def _holds(need: Requirement, extra: str) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": extra})


def _faults(needs: Iterable[Requirement], have: Mapping[str, str]) -> Iterator[Finding]:
    for need in needs:
        name = _name(need.name)
        if name not in have:
            yield blocks(f"package {name} is not installed", INSTALL)
        elif not need.specifier.contains(have[name], prereleases=True):
            why = f"; {KNOWN_TO_FAIL[name]}" if name in KNOWN_TO_FAIL else ""
            yield blocks(f"package {name} {have[name]} is not {need.specifier}{why}", INSTALL)


def _pins(path: Path) -> Iterator[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        name, pinned, version = line.partition("==")
        if pinned and not line.startswith("#"):
            yield _name(name), version.strip()


def _differs(version: str, pin: str) -> bool:
    """Whether it is another release; ``+cpu`` behind it says how it was built."""
    return Version(version).public != Version(pin).public


def _name(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
