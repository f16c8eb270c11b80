"""The log of promotions as a chain: each line is signed, and names the hash of what stands before it.

::

    {..., "sequence": 7, "previous": SHA256, "keyid": SHA256, "signature": BASE64}

``previous`` is the sha256 of the line before, as bytes. Lines without a signature are the beginning of a log that is
older than signatures; the first signed line names the hash of all of them. In a log that was empty it names 64 zeros.
``sequence`` only grows; a number is left out where a process was killed between a promotion and its line. The signature
is over DSSE's encoding of the line, as canonical JSON, without ``keyid`` and ``signature``.

So a line that was changed, inserted, or taken out of the middle is found. Lines that were cut off at the end are found
where the version that serves was promoted after them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pipeline.artifacts import paths
from pipeline.base import durable
from pipeline.base.errors import TrustError
from pipeline.serving.trust import keys as private
from pipeline.serving.trust import trusted
from pipeline.serving.trust.envelope import decoded, encoded, pae
from pipeline.serving.trust.keys import Signer
from pipeline.serving.trust.trusted import Served, TrustedKey
from pipeline.settings.tracking import SHIPPED
from pipeline.tracking import store

DECISION: Final = "application/vnd.flowsculpt.decision+json"
NOTHING: Final = "0" * 64  # the hash before the first line
SIGNED: Final = ("keyid", "signature")
_NEW: Final = frozenset(("sequence", "previous", *SIGNED))  # what no older line has
MADE_TO_SERVE: Final = ("promoted", "rolled back", "adopted")
FOUND, RETIRED = "found", "key retired"
REMEDY: Final = (
    "bring the file back from a backup; or, if you know what changed it, move it away, and the next decision begins a "
    "new log"
)


@dataclass(frozen=True)
class Log:
    """What the log says.

    Attributes:
        lines: oldest first.
        faults: what is wrong with it, each with the number of its line.
        head: the hash that the next line names.
        hashes: those that lines name, or could: the one before the first, and that of each line.
        sequence: of the last line; 0 where none is signed.
    """

    lines: tuple[Mapping[str, Any], ...]
    faults: tuple[str, ...]
    head: str
    hashes: frozenset[str]
    sequence: int

    def served(self, model: str) -> list[Served]:
        """The versions of a model that were made to serve, the last one last."""
        found = (served(line) for line in self.lines)
        return [each for each in found if each and each.model == model]

    def before(self, model: str, number: int) -> int | None:
        """The version of a model that served last, but for one; None where none did."""
        return next((each.number for each in reversed(self.served(model)) if each.number != number), None)


def place() -> Path:
    """Where the log lies."""
    return store.project_root() / paths.PROMOTIONS


def read(thorough: bool = False) -> Log:
    """The log as it is, checked.

    Args:
        thorough: check every signature, and not only those from the last line on that a key which promotes signed. That
            line vouches for all before it.
    """
    content = place().read_bytes() if place().is_file() else b""
    return parsed(content, tuple(trusted.load()) if content else (), thorough)


def require() -> Log:
    """The log, if nothing is wrong with it.

    Raises:
        TrustError: a line was changed, removed, inserted or forged; it is named.
    """
    found = read()
    if found.faults:
        faults = read(thorough=True).faults or found.faults
        raise TrustError(f"{place()}: {faults[0]}; {REMEDY}")
    return found


def append(line: Mapping[str, Any], at_least: int = 0) -> None:
    """Sign a line and append it.

    Args:
        line: without what is signed.
        at_least: the number that it gets, if that is not taken yet.

    Raises:
        TrustError: there is no key to sign with.
        ArtifactError: the log cannot be written.
    """
    signer = private.signer(to_promote=_takes_promoter(line))

    def made(content: bytes) -> dict[str, Any]:
        before = parsed(content, (), thorough=False)
        return signed({**line, "sequence": max(before.sequence + 1, at_least), "previous": before.head}, signer)

    with durable.refusals(place()):
        durable.append_after(place(), made)


def signed(line: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """A line with its signature."""
    told = json.loads(json.dumps({**line}, allow_nan=False))
    signature = encoded(signer.sign(pae(DECISION, canonical(told))))
    return {**told, "keyid": signer.keyid, "signature": signature}


def canonical(line: Mapping[str, Any]) -> bytes:
    """What is signed of a line: canonical JSON (sorted, no blanks, ASCII) without ``keyid`` and ``signature``."""
    told = {name: value for name, value in line.items() if name not in SIGNED}
    return json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def served(line: Mapping[str, Any]) -> Served | None:
    """The version that a line made to serve; None where it made none.

    A line ``found`` counts where it names a signed promotion: the process was killed that would have written its line.
    """
    decision, number = line.get("decision"), line.get("serving")
    sequence, digests = line.get("promotion", line.get("sequence", 0)), line.get("digests") or {}
    if not (isinstance(number, int) and isinstance(sequence, int) and isinstance(digests, dict)):
        return None  # as no line of this project is
    if not (decision in MADE_TO_SERVE or (decision == FOUND and "promotion" in line and "sequence" in line)):
        return None
    digest = digests.get("champion" if decision == FOUND else "candidate") or ""
    return Served(str(line.get("model", SHIPPED)), number, str(digest), int(sequence))


# Checking.


@lru_cache(maxsize=2)  # a watch asks every few seconds, and the log has hardly ever changed
def parsed(content: bytes, keys: tuple[TrustedKey, ...], thorough: bool) -> Log:
    """What the bytes of a log say; without keys, no signature is checked."""
    raw = content.split(b"\n")
    if not raw[-1] or durable.parsed(raw[-1]) is None:  # ended, or half a line of a process that was killed
        raw = raw[:-1]
    lines = [durable.parsed(each) for each in raw]
    first = next((place for place, line in enumerate(lines) if _is_new(line, raw[place])), len(lines))
    head = hashlib.sha256(b"\n".join(raw[:first])).hexdigest() if first else NOTHING
    hashes, faults, sequence, retired = {head}, [], 0, set[str]()
    vouched = 0 if thorough else _vouched(lines, keys)
    for number in range(first, len(lines)):
        line = lines[number]
        is_checked = bool(keys) and number >= vouched
        fault = _fault(raw[number], line, (head, sequence), retired, keys if is_checked else ())
        if fault:
            faults.append(f"line {number + 1} {fault}")
        head = hashlib.sha256(raw[number]).hexdigest()
        hashes.add(head)
        sequence = max(sequence, _sequence(line or {}))
        if line and line.get("decision") == RETIRED:
            retired.add(str(line.get("key")))
    return Log(tuple(line for line in lines if line), tuple(faults), head, frozenset(hashes), sequence)


def _vouched(lines: Sequence[Mapping[str, Any] | None], keys: Sequence[TrustedKey]) -> int:
    """The last line that says that a key which promotes signed it: it vouches for those before; 0 where none does."""
    promoters = {key.keyid for key in keys if key.promotes}
    found = (number for number, line in enumerate(lines) if line and line.get("keyid") in promoters)
    return max(found, default=0)


def _takes_promoter(line: Mapping[str, Any]) -> bool:
    """Whether a key that signs models alone may not sign a line: it makes a version serve, or retires a key."""
    return served(line) is not None or line.get("decision") == RETIRED


def _is_new(line: Mapping[str, Any] | None, raw: bytes) -> bool:
    """Whether a line was written since lines are signed."""
    return any(name.encode() in raw for name in _NEW) if line is None else not _NEW.isdisjoint(line)


def _fault(
    raw: bytes,
    line: Mapping[str, Any] | None,
    before: tuple[str, int],
    retired: set[str],
    keys: Sequence[TrustedKey],
) -> str:
    """What is wrong with a line that should be signed; "" where nothing is."""
    if line is None:
        return "is no object of JSON: it was changed"
    if "signature" not in line:
        return "is not signed, and lines before it are: it was added by other means"
    if json.dumps(line).encode() != raw:
        return "is not written as this project writes it: it was changed"
    return (_forged(line, keys) if keys else "") or _misplaced(line, before, retired)


def _misplaced(line: Mapping[str, Any], before: tuple[str, int], retired: set[str]) -> str:
    if line.get("keyid") in retired:
        return f"is signed with key {str(line.get('keyid'))[:12]}, which a line before it retired"
    if line.get("previous") != before[0]:
        return "does not follow the line before it: that one was changed, or lines between them are missing"
    if _sequence(line) <= before[1]:
        return f"has the number {line.get('sequence')}, and a line before it has {before[1]}"
    return ""


def _forged(line: Mapping[str, Any], keys: Sequence[TrustedKey]) -> str:
    try:
        key = trusted.find(str(line.get("keyid")), keys)
        is_true = key.verifies(decoded(str(line["signature"])), pae(DECISION, canonical(line)))
    except TrustError as error:
        return f"is forged, or signed elsewhere: {error}"
    except ValueError:  # NaN, infinity
        return "holds a number that no line of this project holds: it was changed"
    if is_true and not key.promotes and _takes_promoter(line):
        return f"makes a version serve, or retires a key, and key {key.keyid[:12]} signs models and no promotions"
    return "" if is_true else f"is forged or was changed: key {key.keyid[:12]} did not sign what stands there"


def _sequence(line: Mapping[str, Any]) -> int:
    found = line.get("sequence")
    return found if isinstance(found, int) and not isinstance(found, bool) else 0
