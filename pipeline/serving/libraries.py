"""The libraries that are installed here: which of them others need, their licences, and a hash of each.

What metadata say of a licence is brought to an SPDX expression by ``licences.toml``, which also holds the policy.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LICENCES: Final = Path(__file__).with_name("licences.toml")
UNKNOWN: Final = ""
# Lines of RECORD that differ from one installation of the same wheel to the next.
_OWN_TO_AN_INSTALLATION: Final = re.compile(
    r"^\.\./|\.pyc,|dist-info/(INSTALLER|REQUESTED|RECORD|direct_url\.json|uv_cache\.json),"
)

_OF_EXTRA: Final = re.compile(r"\bextra\s*==")  # most lines; to parse them takes time


@dataclass(frozen=True)
class Library:
    """An installed library.

    Attributes:
        name: in the form that indexes use.
        version: without a local part, such as ``+cpu``.
        licence: an SPDX expression; "" where its metadata say nothing that ``licences.toml`` knows.
        needs: the names of the libraries that it asks for here.
    """

    name: str
    version: str
    licence: str
    needs: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of the list of its files and their hashes; the same wherever one wheel was installed; "" without a list."""
        record = metadata.distribution(self.name).read_text("RECORD") or ""
        lines = sorted(line for line in record.splitlines() if line and not _OWN_TO_AN_INSTALLATION.search(line))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def closure(asked: Iterable[str]) -> dict[str, Library]:
    """The libraries that these requirements need on this machine, by name; those that are not installed are left out.

    Args:
        asked: requirements, such as ``mlflow`` or ``flowsculpt[dev]``.
    """
    found: dict[str, Library] = {}
    waiting, seen = [Requirement(each) for each in asked], set[tuple[str, str]]()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if (told := _told(name)) is None:
                continue
            needs = _needs(told, extra)  # an extra may name others of the same library
            waiting += needs
            before = found[name].needs if name in found else ()
            names = tuple(sorted({*before, *(canonicalize_name(each.name) for each in needs)}))
            found[name] = Library(name, told["Version"].partition("+")[0], licence(told), names)
    return {
        name: Library(
            each.name, each.version, each.licence, tuple(need for need in each.needs if need in found and need != name)
        )
        for name, each in sorted(found.items())
    }


def licence(told: Message) -> str:
    """The SPDX expression of the metadata of a library; "" where they say nothing that is known."""
    known = policy()
    if (name := canonicalize_name(told["Name"])) in known["stated"]:
        return str(known["stated"][name]["licence"])
    if expression := told.get("License-Expression"):
        return str(expression)
    text = (told.get("License") or "").strip()
    classifiers = [each.removeprefix("License :: ") for each in told.get_all("Classifier") or ()]
    for said in (text, *classifiers):
        if found := known["spellings"].get(said.removeprefix("OSI Approved :: ")):
            return str(found)
    return UNKNOWN


def is_allowed(expression: str) -> bool:
    """Whether the policy allows a licence: each part of an AND, or one part of an OR."""
    from boolean import AND, OR
    from license_expression import get_spdx_licensing

    def allows(part: Any) -> bool:
        if isinstance(part, AND | OR):
            found = map(allows, part.args)
            return all(found) if isinstance(part, AND) else any(found)
        return part.render() in policy()["allowed"]

    return bool(expression) and allows(get_spdx_licensing().parse(expression))


@cache
def policy() -> Mapping[str, Any]:
    """What ``licences.toml`` says."""
    return tomllib.loads(LICENCES.read_text(encoding="utf-8"))


def _told(name: str) -> Message | None:
    """The metadata of a library, without its description, which is long; None where it is not installed."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""  # a wheel, or a folder of sources
    return HeaderParser().parsestr(text.partition("\n\n")[0])


def _needs(told: Message, extra: str) -> list[Requirement]:
    lines = told.get_all("Requires-Dist") or ()
    asked = [Requirement(line) for line in lines if extra or not _OF_EXTRA.search(line)]
    return [each for each in asked if each.marker is None or each.marker.evaluate({"extra": extra})]
